"""Verifies what Comity sent with the library that Standard Webhooks publishes for Python."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

sent = json.load(open(sys.argv[1]))
for secret in sent["secrets"]:
    hook = Webhook(secret)
    event = hook.verify(sent["body"], sent["headers"])
    for broken in [
        (sent["body"].replace("webhook_tested", "webhook_removed"), sent["headers"]),
        (sent["body"], {**sent["headers"], "webhook-id": "msg_other"}),
        (sent["body"], {**sent["headers"], "webhook-timestamp": "1600000000"}),
    ]:
        try:
            hook.verify(*broken)
        except WebhookVerificationError:
            continue
        sys.exit("a forged push was believed")
    print(event["type"])
