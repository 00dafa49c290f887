"""Django settings: one file, embedded unless DATABASE_URL and REDIS_URL are given.

Every value that an operator may change comes from the environment through `kalshiweb.env`;
contradictions between them are found by the system checks in `kalshiweb.checks`.
"""

from __future__ import annotations

from pathlib import Path

from kalshiweb import env, origins
from kalshiweb.data_dir import data_dir, runtime_dir, secret_key
from kalshiweb.exchanges import ENVIRONMENTS, read_exchanges
from kalshiweb.logs import LOG_LEVELS, logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

# --- where this installation keeps what it owns -------------------------------------------------
KALSHIWEB_DATA_DIR = data_dir()
KALSHIWEB_RUNTIME_DIR = runtime_dir(KALSHIWEB_DATA_DIR)
SECRET_KEY = env.secret("KALSHIWEB_SECRET_KEY") or secret_key(KALSHIWEB_DATA_DIR)
DEBUG = env.flag("KALSHIWEB_DEBUG")

# --- the exchange -------------------------------------------------------------------------------
ENVIRONMENT = env.choice("KALSHIWEB_EXCHANGE", "sandbox", ENVIRONMENTS)
EXCHANGES = read_exchanges(ENVIRONMENT)

# --- who may reach it ---------------------------------------------------------------------------
HTTPS = env.flag("KALSHIWEB_HTTPS")
PORT = env.number("KALSHIWEB_PORT", 8000)
BIND = env.text("KALSHIWEB_BIND", "127.0.0.1")
ALLOWED_HOSTS = origins.hosts(BIND)
WEB_ORIGINS = origins.origins(BIND, PORT)
CSRF_TRUSTED_ORIGINS = [origin for origin in WEB_ORIGINS if origin.startswith("https://")]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.admin",
    "django.contrib.humanize",
    "channels",
    "csp",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "kalshiweb.apps.KalshiwebConfig",
    "markets.apps.MarketsConfig",
    "trading.apps.TradingConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "kalshiweb.addresses.NoNul",
    "kalshiweb.cookies.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "trading.sessions.DeskSessions",
]

ROOT_URLCONF = "kalshiweb.urls"
ASGI_APPLICATION = "kalshiweb.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "kalshiweb.context.desk",
            ],
        },
    },
]

# --- database: SQLite beside us, or whatever DATABASE_URL names ----------------------------------
DATABASE_URL = env.secret("DATABASE_URL")
if DATABASE_URL:
    DATABASES = {"default": env.database("DATABASE_URL")}
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": KALSHIWEB_DATA_DIR / "kalshiweb.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # One writer at a time, asked for at BEGIN: a read that turns into a write never fails as "locked".
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # FULL: an order's row is on the disk before its first byte leaves.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    }
ATOMIC_REQUESTS = False

# --- Valkey: broker, channel layer, cache ---------------------------------------------------------
VALKEY_SOCKET = KALSHIWEB_RUNTIME_DIR / "valkey.sock"
REDIS_URL = env.secret("REDIS_URL") or f"unix://{VALKEY_SOCKET}?db=0"
IS_EMBEDDED_VALKEY = not env.secret("REDIS_URL")

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "markets.layers.StoreLayer",
        "CONFIG": {"url": REDIS_URL, "prefix": "kalshiweb"},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "kalshiweb",
    }
}

CELERY_BROKER_URL = f"redis+socket://{VALKEY_SOCKET}?virtual_host=1" if IS_EMBEDDED_VALKEY else env.secret("REDIS_URL")
# Twice-delivered work is harmless here (every task claims its rows), lost work is not: short redelivery.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 1800,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(KALSHIWEB_RUNTIME_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    "sync-catalogue": {"task": "markets.tasks.sync_catalogue", "schedule": 60.0, "args": [ENVIRONMENT]},
    "sweep-orders": {"task": "trading.tasks.sweep_orders", "schedule": 10.0},
    "try-keys": {"task": "trading.tasks.try_keys", "schedule": 600.0},
    "sign-record": {"task": "trading.tasks.sign_record", "schedule": 3600.0},
    "beat-alive": {"task": "markets.tasks.beat_alive", "schedule": 5.0},
}
# What waited for a worker as long as its period is sent again by now: an hour without one leaves no pile.
for _entry in CELERY_BEAT_SCHEDULE.values():
    _entry["options"] = {"expires": _entry["schedule"]}

# --- people -----------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "kalshiweb.accounts.ClosedSignup"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key"}
MFA_ADAPTER = "kalshiweb.second_factor.SealedFactors"
MFA_FORMS = {
    "authenticate": "kalshiweb.guesses.Code",
    "reauthenticate": "kalshiweb.guesses.CodeAgain",
    "authenticate_webauthn": "kalshiweb.guesses.Passkey",
    "reauthenticate_webauthn": "kalshiweb.guesses.PasskeyAgain",
    "login_webauthn": "kalshiweb.guesses.PasskeyAlone",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
MFA_ALLOW_UNVERIFIED_EMAIL = True
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Asked by supervisors and load balancers on this side of the proxy; they answer no more than "ok" and what is not.
SECURE_REDIRECT_EXEMPT = [r"^healthz\Z", r"^readyz\Z"]
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
if HTTPS:
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrf"
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    if env.flag("KALSHIWEB_BEHIND_PROXY"):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        ALLAUTH_TRUSTED_PROXY_COUNT = 1  # the last address of X-Forwarded-For is the browser's

# --- what a browser may do with our pages -----------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
        "manifest-src": ["'self'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 262_144
DEFAULT_EXCEPTION_REPORTER_FILTER = "kalshiweb.reporting.AlwaysSafe"

# --- static files ---------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = env.text("KALSHIWEB_STATIC_ROOT") or KALSHIWEB_DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "kalshiweb.static_storage.HashedStaticFiles"},
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "America/New_York"
USE_I18N = False
USE_TZ = True

LOGGING = logging_config(
    json=env.flag("KALSHIWEB_LOG_JSON"), level=env.choice("KALSHIWEB_LOG_LEVEL", "INFO", LOG_LEVELS)
)
SILENCED_SYSTEM_CHECKS: list[str] = []
