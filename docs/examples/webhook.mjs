// A receiver of webhooks:  node webhook.mjs whsec_… 8090
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const [secret, port] = process.argv.slice(2);
const webhook = new Webhook(secret);
const seen = new Set(); // in earnest: in your database
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part; // as it came: the signature is over these bytes
  try {
    const message = webhook.verify(body, request.headers);
    const id = request.headers["webhook-id"];
    if (!seen.has(id)) console.log(message.type, message.data.user_id ?? "-"); // what has come twice is dropped
    seen.add(id);
    response.writeHead(204).end(); // soon: within 5 seconds
  } catch {
    response.writeHead(401).end(); // nobody's, or older than five minutes
  }
});
server.listen(port, "127.0.0.1", () => console.log("listens on " + server.address().port));
