"""Stretches of a market's book that are kept for good."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("markets", "0002_market_search"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeptLook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                ("ticker", models.CharField(max_length=200)),
                ("from_ms", models.BigIntegerField()),
                ("to_ms", models.BigIntegerField()),
                ("packed", models.BinaryField(default=bytes, help_text="Pieces of markets.reels, as one list.")),
                ("kept_at", models.DateTimeField(help_text="When it was filled.", null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["environment", "ticker", "from_ms"], name="look_stretch"),
                    models.Index(
                        condition=models.Q(("kept_at", None)), fields=["environment", "to_ms"], name="look_due"
                    ),
                ],
            },
        ),
    ]
