"""Find what an account's orders have told of lately."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0003_people")]

    operations = [
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "updated_at"], name="order_account_updated"),
        ),
    ]
