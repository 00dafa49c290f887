"""Invitations, sessions, own limits, who looks after whose orders, and what a team may switch off."""

from __future__ import annotations

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0002_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="handed_to",
            field=models.ForeignKey(
                help_text="Who looks after the orders of somebody who is away.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="left_at",
            field=models.DateTimeField(help_text="Removed then; a pause leaves this empty.", null=True),
        ),
        migrations.AddField(
            model_name="membership",
            name="max_order_cost",
            field=models.DecimalField(decimal_places=2, help_text="Of one order, $.", max_digits=14, null=True),
        ),
        migrations.AddField(
            model_name="membership",
            name="max_orders_per_minute",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="membership",
            name="max_working_cost",
            field=models.DecimalField(
                decimal_places=2, help_text="Of all working orders of the person together, $.", max_digits=14, null=True
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="owners_trade",
            field=models.BooleanField(default=True, verbose_name="Owners may place orders"),
        ),
        migrations.AddField(
            model_name="team",
            name="traders_cancel_any",
            field=models.BooleanField(default=True, verbose_name="Traders may cancel anybody’s order"),
        ),
        migrations.AddField(
            model_name="team",
            name="viewers_see_positions",
            field=models.BooleanField(default=True, verbose_name="Viewers see positions and exposure"),
        ),
        migrations.CreateModel(
            name="DeskSession",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("session_key", models.CharField(max_length=40, unique=True)),
                ("address", models.CharField(blank=True, default="", max_length=45)),
                ("agent", models.CharField(blank=True, default="", max_length=200)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="desk_sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "Owner"),
                            ("admin", "Admin"),
                            ("trader", "Trader"),
                            ("viewer", "Viewer"),
                            ("auditor", "Auditor"),
                        ],
                        max_length=10,
                    ),
                ),
                ("for_whom", models.CharField(help_text="As the inviting person wrote it.", max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                ("withdrawn_at", models.DateTimeField(null=True)),
                (
                    "invited_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="invitations", to="trading.team"
                    ),
                ),
                (
                    "used_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]
