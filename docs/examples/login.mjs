// A login by openid-client, as a login system would do it after the password:
//   node login.mjs http://localhost:8080/ CLIENT_ID CLIENT_SECRET maria
import * as client from "openid-client";

const [issuer, id, secret, user] = process.argv.slice(2);
const insecure = { execute: [client.allowInsecureRequests] }; // for http://localhost alone
const config = await client.discovery(new URL(issuer), id, secret, undefined, issuer.startsWith("http:") ? insecure : {});
try {
  const asked = await client.initiateBackchannelAuthentication(config, {
    scope: "openid",
    login_hint: user,
    binding_message: "Sign in to the shop",
    ip: "203.0.113.7", // of the browser that logs in
  });
  console.log("Open the app on your phone and type this number: " + asked.number);
  // It sleeps for interval before each request, the first too. The server holds each for wait, so one second will do.
  const tokens = await client.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 1 }, { wait: "20" });
  const claims = tokens.claims(); // of the ID token, which was verified
  if (claims["urn:openid:params:jwt:claim:auth_req_id"] !== asked.auth_req_id) throw new Error("of another login");
  console.log("Welcome, " + claims.sub);
} catch (e) {
  console.log(e.error ? e.error + ": " + e.error_description : e.message);
  process.exitCode = 1;
}
