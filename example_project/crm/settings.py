"""Settings of the example CRM.

They work without any configuration: without `KAPSO_API_KEY` the CRM runs on the sandbox.
"""

from pathlib import Path

from django.core.management.utils import get_random_secret_key

from crm import configuration

BASE_DIR = configuration.ROOT
DATA_DIR = configuration.DEFAULT_DATA_DIR
env = configuration.read(DATA_DIR)
if env.str("CRM_DATA_DIR", default=""):
    DATA_DIR = Path(env.str("CRM_DATA_DIR"))
    env = configuration.read(DATA_DIR)

DEBUG = env.bool("DEBUG", default=True)
# A random one works as long as the process runs; `manage.py demo` writes a permanent one.
SECRET_KEY = env.str("SECRET_KEY", default="") or get_random_secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

KAPSO_API_KEY = env.str("KAPSO_API_KEY", default="").strip()
SANDBOX = not KAPSO_API_KEY
KAPSO_WEBHOOK_SECRET = env.str("KAPSO_WEBHOOK_SECRET", default="").strip()

INSTALLED_APPS = [
    "crm",
    "kapso_inbox",
    "kapso_inbox.conversations",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # For the REST API and its schema.
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "crm.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    # Shows the inbox, and the pages in its place, in each reader's language.
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# A theme for the admin ("unfold", "jazzmin"), to see the inbox's pages in it. It must come before
# the admin, and runs scripts that the CRM's own policy would block.
ADMIN_THEME = env.str("CRM_ADMIN_THEME", default="")
if ADMIN_THEME:
    INSTALLED_APPS.insert(0, ADMIN_THEME)
    MIDDLEWARE.remove("crm.middleware.content_security_policy")

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                # The template tag needs the request to decide who may open an inbox.
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "crm.context_processors.navigation",
            ],
        },
    },
]

ROOT_URLCONF = "crm.urls"
WSGI_APPLICATION = "crm.wsgi.application"

# The sandbox and Kapso have a file each: the sandbox's inboxes do not exist at Kapso.
SQLITE = DATA_DIR / ("sandbox.sqlite3" if SANDBOX else "kapso.sqlite3")
DATABASE_URL = env.str("DATABASE_URL", default="")
DATABASES = {
    "default": env.db_url_config(DATABASE_URL)
    if DATABASE_URL
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": SQLITE}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "crm.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "contacts"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español"), ("pt-br", "Português")]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"

# -- The inbox ------------------------------------------------------------------------------------

# Where people open this CRM. Kapso lets only these origins frame an inbox.
CRM_ORIGINS = env.list("CRM_ORIGINS", default=["http://localhost:8000", "http://127.0.0.1:8000"])

KAPSO_INBOX = {
    "API_KEY": KAPSO_API_KEY or "sandbox-key",
    "ENCRYPTION_KEYS": env.dict("KAPSO_INBOX_ENCRYPTION_KEYS", default={}),
    "BASE_URL": env.str("KAPSO_BASE_URL", default="")
    or ("http://127.0.0.1:8801/platform/v1" if SANDBOX else "https://api.kapso.ai/platform/v1"),
    "INBOX_ORIGINS": env.list("KAPSO_INBOX_ORIGINS", default=[])
    or (["http://127.0.0.1:8802"] if SANDBOX else ["https://inbox.kapso.ai"]),
    "ALLOWED_ORIGINS": CRM_ORIGINS,
    # The inbox has the same theme as the CRM for each agent.
    "USER_PARAMS": "crm.inbox.user_params",
    # The country of contacts' numbers that are written without one.
    "PHONE_REGION": "US",
    # For the webhooks that tell who is waiting.
    "WEBHOOK_SECRETS": {"default": KAPSO_WEBHOOK_SECRET} if KAPSO_WEBHOOK_SECRET else {},
    "VERIFY_AFTER": env.int("KAPSO_INBOX_VERIFY_AFTER", default=300),
}

# -- The REST API ---------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {"OAS_VERSION": "3.1.0", "TITLE": "The CRM's API", "VERSION": "1"}
