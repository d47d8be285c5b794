// A login by openid-client of a client that signs what it asks (CIBA §7.1.1), and itself (private_key_jwt):
//   tutela client add bank --scope openid --jwks public-keys.json --request-alg ES256
//   node signed.mjs http://localhost:8080/ CLIENT_ID private-key.pem maria
import { readFile } from "node:fs/promises";
import { SignJWT, importPKCS8 } from "jose";
import * as client from "openid-client";

const [issuer, id, keyFile, user] = process.argv.slice(2);
const insecure = { execute: [client.allowInsecureRequests] }; // for http://localhost alone
const key = await importPKCS8(await readFile(keyFile, "utf8"), "ES256");
const config = await client.discovery(new URL(issuer), id, undefined, client.PrivateKeyJwt(key), issuer.startsWith("http:") ? insecure : {});
try {
  const request = await new SignJWT({
    scope: "openid",
    login_hint: user,
    binding_message: "Pay 12.00 to the shop",
    ip: "203.0.113.7", // of the browser that logs in
  })
    .setProtectedHeader({ alg: "ES256" })
    .setIssuer(id)
    .setAudience(config.serverMetadata().issuer)
    .setJti(crypto.randomUUID()) // it counts once
    .setIssuedAt()
    .setNotBefore(new Date())
    .setExpirationTime("5m")
    .sign(key);
  const asked = await client.initiateBackchannelAuthentication(config, { request });
  console.log("Open the app on your phone and type this number: " + asked.number);
  const tokens = await client.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 1 }, { wait: "20" });
  console.log("Welcome, " + tokens.claims().sub);
} catch (e) {
  console.log(e.error ? e.error + ": " + e.error_description : e.message);
  process.exitCode = 1;
}
