"""Comity's client: ask before each call, check tokens offline, check webhooks.

Middleware stands in ``comity_client.starlette`` (FastAPI and Starlette).
"""

from .client import AsyncComity, Comity, Introspection, Question
from .decision import Decision, Entity
from .verify import TokenRefused, VerifiedToken, Verifier
from .webhook import Webhook, WebhookRefused, verify_webhook

__all__ = [
    "AsyncComity",
    "Comity",
    "Decision",
    "Entity",
    "Introspection",
    "Question",
    "TokenRefused",
    "VerifiedToken",
    "Verifier",
    "Webhook",
    "WebhookRefused",
    "verify_webhook",
]
