"""The tables of the desk."""

from __future__ import annotations

import uuid
from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "reconciled_at",
                    models.DateTimeField(
                        help_text="Start of the last complete comparison with the exchange; none, no trading.",
                        null=True,
                    ),
                ),
                (
                    "reconciling_until",
                    models.DateTimeField(help_text="By then a comparison that began is over or dead.", null=True),
                ),
                ("reconcile_error", models.CharField(blank=True, default="", max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name="Team",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                ("slug", models.SlugField(max_length=80, unique=True)),
                (
                    "number",
                    models.BigIntegerField(
                        default=0, help_text="Of the last desk event; counts up in the change's transaction."
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="LogInLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                (
                    "is_external",
                    models.BooleanField(default=False, help_text="Placed elsewhere with the same account."),
                ),
                ("ticker", models.CharField(max_length=200)),
                ("event_ticker", models.CharField(blank=True, default="", max_length=200)),
                ("action", models.CharField(choices=[("buy", "buy"), ("sell", "sell")], max_length=4)),
                ("side", models.CharField(choices=[("yes", "YES"), ("no", "NO")], max_length=3)),
                ("price", models.DecimalField(decimal_places=4, help_text="Of `side`, $.", max_digits=6)),
                ("count", models.DecimalField(decimal_places=2, max_digits=16)),
                ("wire_side", models.CharField(choices=[("bid", "bid"), ("ask", "ask")], max_length=3)),
                ("wire_price", models.DecimalField(decimal_places=4, help_text="Of YES, $.", max_digits=6)),
                (
                    "time_in_force",
                    models.CharField(
                        choices=[
                            ("good_till_canceled", "good till canceled"),
                            ("immediate_or_cancel", "immediate or cancel"),
                            ("fill_or_kill", "fill or kill"),
                        ],
                        default="good_till_canceled",
                        max_length=20,
                    ),
                ),
                ("post_only", models.BooleanField(default=False)),
                ("expires_at", models.DateTimeField(null=True)),
                ("idempotency_key", models.CharField(max_length=64, null=True)),
                ("body_hash", models.CharField(default="", max_length=64)),
                ("client_order_id", models.CharField(max_length=64, null=True)),
                ("exchange_order_id", models.CharField(max_length=64, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "draft"),
                            ("awaiting_approval", "awaiting approval"),
                            ("queued", "queued"),
                            ("sending", "sending"),
                            ("resting", "resting"),
                            ("unknown", "unknown, checking"),
                            ("needs_human", "unknown, needs a person"),
                            ("denied", "denied by the desk"),
                            ("lapsed", "lapsed, never sent"),
                            ("rejected", "rejected by the exchange"),
                            ("not_placed", "not placed"),
                            ("executed", "executed"),
                            ("canceled", "canceled"),
                        ],
                        default="draft",
                        max_length=20,
                    ),
                ),
                ("reason_code", models.CharField(blank=True, default="", max_length=60)),
                ("reason_text", models.TextField(blank=True, default="")),
                ("filled", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=16)),
                ("remaining", models.DecimalField(decimal_places=2, max_digits=16)),
                (
                    "average_price",
                    models.DecimalField(decimal_places=6, help_text="Of `side`, $.", max_digits=12, null=True),
                ),
                ("fees", models.DecimalField(decimal_places=6, default=Decimal("0"), max_digits=14)),
                ("cancel_requested_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("sent_at", models.DateTimeField(null=True)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("unknown_at", models.DateTimeField(help_text="Since when nobody has told us.", null=True)),
                (
                    "clean_scans",
                    models.PositiveSmallIntegerField(default=0, help_text="Complete scans that did not find it."),
                ),
                ("scanned_at", models.DateTimeField(help_text="When the last of them began.", null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="trading.account"
                    ),
                ),
                (
                    "placed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="trading.team"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="memberships", to="trading.team"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Fill",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                ("trade_id", models.CharField(max_length=64)),
                ("exchange_order_id", models.CharField(max_length=64)),
                ("ticker", models.CharField(max_length=200)),
                (
                    "wire_side",
                    models.CharField(
                        choices=[("bid", "bid"), ("ask", "ask")],
                        help_text="bid: YES was bought; ask: NO was.",
                        max_length=3,
                    ),
                ),
                ("wire_price", models.DecimalField(decimal_places=4, help_text="Of YES, $.", max_digits=6)),
                ("count", models.DecimalField(decimal_places=2, max_digits=16)),
                (
                    "fee",
                    models.DecimalField(
                        decimal_places=6, default=Decimal("0"), help_text="Of the whole row, $.", max_digits=14
                    ),
                ),
                ("is_taker", models.BooleanField()),
                ("traded_at", models.DateTimeField()),
                ("booked_at", models.DateTimeField(auto_now_add=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="fills", to="trading.account"
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        help_text="Empty until we know the order.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="fills",
                        to="trading.order",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="fills", to="trading.team"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DeskEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.BigIntegerField()),
                ("environment", models.CharField(max_length=10)),
                ("kind", models.CharField(choices=[("order", "Order"), ("fill", "Fill")], max_length=10)),
                ("subject", models.CharField(help_text="Primary key of the order or fill.", max_length=40)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="desk_events", to="trading.team"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.BigIntegerField(help_text="In the team's chain, from 1, without holes.")),
                ("at", models.DateTimeField()),
                ("environment", models.CharField(blank=True, default="", max_length=10)),
                (
                    "actor_name",
                    models.CharField(
                        default="", help_text="As it was then; empty for the desk itself.", max_length=150
                    ),
                ),
                ("action", models.CharField(max_length=60)),
                ("subject", models.CharField(blank=True, default="", max_length=100)),
                ("facts", models.JSONField(default=dict)),
                ("previous_hash", models.CharField(blank=True, default="", max_length=64)),
                ("hash", models.CharField(max_length=64)),
                (
                    "actor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="audit_entries", to="trading.team"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "audit entries",
            },
        ),
        migrations.AddField(
            model_name="account",
            name="team",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="accounts", to="trading.team"
            ),
        ),
        migrations.CreateModel(
            name="TradingState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("active", "Active"),
                            ("reducing", "Only orders that reduce a position"),
                            ("halted", "Halted"),
                        ],
                        default="active",
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="trading_states", to="trading.team"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                ("key_id", models.CharField(help_text="The exchange's name of it.", max_length=100)),
                ("key_type", models.CharField(choices=[("rsa", "RSA"), ("ed25519", "Ed25519")], max_length=10)),
                ("name", models.CharField(max_length=80)),
                ("scopes", models.JSONField(blank=True, default=list)),
                ("fingerprint", models.CharField(help_text="SHA-256 of the public half, hexadecimal.", max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("unchecked", "Not checked yet"),
                            ("active", "Active"),
                            ("paused", "Paused"),
                            ("refused", "Refused by the exchange"),
                            ("removed", "Removed"),
                        ],
                        default="unchecked",
                        max_length=10,
                    ),
                ),
                (
                    "reason",
                    models.CharField(blank=True, default="", help_text="Why it cannot be used.", max_length=200),
                ),
                (
                    "is_feed",
                    models.BooleanField(default=False, help_text="Lent to the desk: all books are read with it."),
                ),
                ("version", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "kid",
                    models.CharField(default="", editable=False, help_text="Which master key wraps it.", max_length=64),
                ),
                ("wrapped_key", models.BinaryField(default=b"")),
                ("ciphertext", models.BinaryField(default=b"")),
                ("added_at", models.DateTimeField(auto_now_add=True)),
                ("last_used_at", models.DateTimeField(null=True)),
                ("probed_at", models.DateTimeField(null=True)),
                ("removed_at", models.DateTimeField(null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="keys", to="trading.account"
                    ),
                ),
                (
                    "added_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "removed"), _negated=True),
                        fields=("environment", "key_id"),
                        name="apikey_environment_key_id",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_feed", True)), fields=("environment",), name="apikey_one_feed_key"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RiskLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "environment",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("demo", "Demo"), ("production", "Production")], max_length=10
                    ),
                ),
                (
                    "max_order_cost",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="Most that one order may cost, $.",
                        max_digits=14,
                    ),
                ),
                (
                    "max_exposure",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="Most at risk in positions and open orders together, $.",
                        max_digits=14,
                    ),
                ),
                (
                    "max_position",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="Most contracts of one market, held and ordered.",
                        max_digits=14,
                    ),
                ),
                ("max_orders_per_minute", models.PositiveIntegerField(default=0)),
                (
                    "price_collar",
                    models.DecimalField(
                        decimal_places=4,
                        default=Decimal("0"),
                        help_text="Furthest an order may reach past the book, $.",
                        max_digits=6,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="limits", to="trading.team"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "team"), name="risklimit_environment_team")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["team", "environment", "-created_at"], name="order_latest"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["team", "environment", "ticker", "-created_at"], name="order_market"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "state"], name="order_account_state"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("team", "idempotency_key"), name="order_team_idempotency_key"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                fields=("environment", "account", "client_order_id"), name="order_environment_account_client_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                fields=("environment", "account", "exchange_order_id"), name="order_environment_account_exchange_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "draft",
                            "awaiting_approval",
                            "queued",
                            "sending",
                            "resting",
                            "unknown",
                            "needs_human",
                            "denied",
                            "lapsed",
                            "rejected",
                            "not_placed",
                            "executed",
                            "canceled",
                        ],
                    )
                ),
                name="order_known_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(fields=("team", "user"), name="membership_team_user"),
        ),
        migrations.AddIndex(
            model_name="fill",
            index=models.Index(fields=["account", "ticker", "traded_at"], name="fill_ticker"),
        ),
        migrations.AddIndex(
            model_name="fill",
            index=models.Index(fields=["account", "exchange_order_id"], name="fill_exchange_order"),
        ),
        migrations.AddIndex(
            model_name="fill",
            index=models.Index(fields=["team", "-traded_at"], name="fill_team_latest"),
        ),
        migrations.AddConstraint(
            model_name="fill",
            constraint=models.UniqueConstraint(
                fields=("environment", "account", "trade_id"), name="fill_environment_account_trade"
            ),
        ),
        migrations.AddIndex(
            model_name="deskevent",
            index=models.Index(fields=["at"], name="deskevent_at"),
        ),
        migrations.AddConstraint(
            model_name="deskevent",
            constraint=models.UniqueConstraint(fields=("team", "number"), name="deskevent_team_number"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["team", "subject"], name="audit_subject"),
        ),
        migrations.AddConstraint(
            model_name="auditentry",
            constraint=models.UniqueConstraint(fields=("team", "number"), name="audit_team_number"),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.UniqueConstraint(
                fields=("environment", "team", "name"), name="account_environment_team_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingstate",
            constraint=models.UniqueConstraint(fields=("environment", "team"), name="tradingstate_environment_team"),
        ),
    ]
