// A login system that sends the browser to tutela's page after the password, by openid-client:
//   tutela client add shop --scope openid --redirect-uri http://localhost:8090/back
//   node page.mjs http://localhost:8080/ CLIENT_ID CLIENT_SECRET 8090
//   then open http://localhost:8090/login?user=maria
import { createServer } from "node:http";
import * as client from "openid-client";

const [issuer, id, secret, port] = process.argv.slice(2);
const insecure = { execute: [client.allowInsecureRequests] }; // for http://localhost alone
const config = await client.discovery(new URL(issuer), id, secret, undefined, issuer.startsWith("http:") ? insecure : {});
const here = `http://localhost:${port}`;
const verifiers = new Map(); // by state; in earnest: in your sessions

// The password was right: send the browser to the page.
async function login(url, response) {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const asked = await fetch(issuer + "mfa/requests", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      client_id: id,
      client_secret: secret,
      user_id: url.searchParams.get("user"),
      redirect_uri: here + "/back",
      state,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      binding_message: "Sign in to the shop",
    }),
  });
  const answer = await asked.json();
  if (!asked.ok) throw new Error(answer.error + ": " + answer.error_description);
  verifiers.set(state, verifier);
  // The cookie holds the state to this browser: a code that somebody else has brought about is refused.
  response.writeHead(303, { Location: answer.url, "Set-Cookie": `state=${state}; HttpOnly; SameSite=Lax; Path=/` }).end();
}

// The browser is back: the code becomes tokens. openid-client compares state and iss, and verifies the ID token.
async function back(url, request, response) {
  const state = /(?:^|; )state=([^;]+)/.exec(request.headers.cookie)?.[1];
  const verifier = verifiers.get(state);
  verifiers.delete(state);
  const tokens = await client.authorizationCodeGrant(config, url, { expectedState: state, pkceCodeVerifier: verifier });
  response.end("Welcome, " + tokens.claims().sub);
}

createServer(async (request, response) => {
  const url = new URL(request.url, here);
  try {
    if (url.pathname === "/login") await login(url, response);
    else if (url.pathname === "/back") await back(url, request, response);
    else response.writeHead(404).end();
  } catch (e) {
    response.writeHead(403).end(e.error ?? e.message); // access_denied: the person said no, or went back
  }
}).listen(port, () => console.log("open " + here + "/login?user=maria"));
