// Verifies what Comity sent with the library that Standard Webhooks publishes for JavaScript.
const { readFileSync } = require("node:fs");
const { Webhook } = require("standardwebhooks");

const sent = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const secret of sent.secrets) {
  const hook = new Webhook(secret);
  const event = hook.verify(sent.body, sent.headers);
  const broken = [
    [sent.body.replace("webhook_tested", "webhook_removed"), sent.headers],
    [sent.body, { ...sent.headers, "webhook-id": "msg_other" }],
    [sent.body, { ...sent.headers, "webhook-timestamp": "1600000000" }],
  ];
  for (const [body, headers] of broken) {
    let believed = true;
    try {
      hook.verify(body, headers);
    } catch {
      believed = false;
    }
    if (believed) throw new Error("a forged push was believed");
  }
  console.log(event.type);
}
