// A login that tutela tells of when it is decided (CIBA's ping mode), by openid-client:
//   tutela client add mail --scope openid --delivery-mode ping --notification-endpoint http://127.0.0.1:8090/ping
//   node ping.mjs http://localhost:8080/ CLIENT_ID CLIENT_SECRET maria 8090
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import * as client from "openid-client";

const [issuer, id, secret, user, port] = process.argv.slice(2);
const insecure = { execute: [client.allowInsecureRequests] }; // for http://localhost alone
const config = await client.discovery(new URL(issuer), id, secret, undefined, issuer.startsWith("http:") ? insecure : {});
const waiting = new Map(); // by token; in earnest: in your database, until the login expires

const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const token = request.headers.authorization?.replace("Bearer ", "");
  const decided = waiting.get(token);
  response.writeHead(decided ? 204 : 401).end(); // at once: the caller waits 5 seconds
  waiting.delete(token); // it may be told twice
  decided?.(JSON.parse(body));
});

// login asks a user's phones, shows the number, and returns the tokens once the ping has come.
async function login(user) {
  const token = randomBytes(32).toString("base64url"); // one for each login: who has it is tutela
  const told = new Promise((resolve) => waiting.set(token, resolve));
  const asked = await client.initiateBackchannelAuthentication(config, {
    scope: "openid",
    login_hint: user,
    client_notification_token: token,
    binding_message: "Sign in to the mail",
  });
  console.log("Open the app on your phone and type this number: " + asked.number);
  const { auth_req_id } = await Promise.race([told, late(asked.expires_in)]); // of a login that nobody answers it says nothing
  if (auth_req_id !== asked.auth_req_id) throw new Error("of another login");
  return client.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 0 }); // once: it is decided
}

const late = (seconds) => new Promise((_, reject) => setTimeout(() => reject(new Error("nobody has answered")), seconds * 1000).unref());

server.listen(port, "127.0.0.1", async () => {
  try {
    const tokens = await login(user);
    console.log("Welcome, " + tokens.claims().sub);
  } catch (e) {
    console.log(e.error ? e.error + ": " + e.error_description : e.message);
    process.exitCode = 1;
  }
  server.close();
});
