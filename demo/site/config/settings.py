"""Settings of the demo shop, all from the environment.

SHOP_DATABASE_ENGINE                                 `postgresql` (without it), or `mysql` for MariaDB
SHOP_DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD   the database
SHOP_DATABASE_CA                                     a CA file: verify the server; without it, no TLS
SHOP_MEDIA_BUCKET, SHOP_MEDIA_PREFIX                 where uploads live (prefix: `media`)
AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, …   as in every AWS SDK
SHOP_SECRET_KEY, SHOP_DEBUG                          Django's own
"""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

# Without a given key, sessions end with the process: right for a demo.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "storages",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

_ENGINE = os.environ.get("SHOP_DATABASE_ENGINE", "postgresql")
_CA = os.environ.get("SHOP_DATABASE_CA")
_TLS = {
    "postgresql": {"sslmode": "verify-full", "sslrootcert": _CA} if _CA else {"sslmode": "disable"},
    "mysql": {"ssl": {"ca": _CA}} if _CA else {"ssl_disabled": True},
}
if _ENGINE == "mysql":
    # The driver that Django asks for has to be compiled.
    import pymysql

    pymysql.install_as_MySQLdb()
DATABASES = {
    "default": {
        "ENGINE": f"django.db.backends.{_ENGINE}",
        "HOST": os.environ.get("SHOP_DATABASE_HOST", "127.0.0.1"),
        "PORT": os.environ.get("SHOP_DATABASE_PORT", "5432" if _ENGINE == "postgresql" else "3306"),
        "NAME": os.environ.get("SHOP_DATABASE_NAME", "shop"),
        "USER": os.environ.get("SHOP_DATABASE_USER", "shop"),
        "PASSWORD": os.environ.get("SHOP_DATABASE_PASSWORD", ""),
        "OPTIONS": _TLS[_ENGINE],
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STORAGES = {
    "default": {"BACKEND": "shop.media.MediaStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
AWS_STORAGE_BUCKET_NAME = os.environ.get("SHOP_MEDIA_BUCKET", "shop-media")
AWS_LOCATION = os.environ.get("SHOP_MEDIA_PREFIX", "media")
AWS_S3_ENDPOINT_URL = os.environ.get("AWS_ENDPOINT_URL")
AWS_S3_REGION_NAME = os.environ.get("AWS_REGION", os.environ.get("AWS_DEFAULT_REGION"))
AWS_S3_ADDRESSING_STYLE = "path" if AWS_S3_ENDPOINT_URL else "auto"
AWS_S3_FILE_OVERWRITE = True
AWS_DEFAULT_ACL = None

STATIC_URL = "static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "Europe/Zurich"
USE_TZ = True
LOGIN_URL = "admin:login"
