// A receiver of shared signals that polls:  node signals.mjs https://mfa.example.com CLIENT_ID CLIENT_SECRET
import { createRemoteJWKSet, jwtVerify } from "jose";

const [transmitter, id, secret] = process.argv.slice(2);
const json = async (url, options) => (await fetch(url, options)).json();
const about = await json(transmitter + "/.well-known/ssf-configuration");
const keys = createRemoteJWKSet(new URL(about.jwks_uri));
const token = await json(transmitter + "/oauth/token", {
  method: "POST",
  body: new URLSearchParams({ grant_type: "client_credentials", client_id: id, client_secret: secret, audience: transmitter + "/api/v2/" }),
});
const post = (url, body) =>
  json(url, { method: "POST", headers: { authorization: "Bearer " + token.access_token, "content-type": "application/json" }, body: JSON.stringify(body) });

const stream = await post(about.configuration_endpoint, {}); // in earnest: once, and its id is kept
console.log("listens");
let ack = [];
for (;;) {
  const { sets } = await post(stream.delivery.endpoint_url, { ack }); // held for up to 30 seconds
  ack = [];
  for (const [jti, set] of Object.entries(sets)) {
    const { payload } = await jwtVerify(set, keys, { issuer: about.issuer, audience: stream.aud, typ: "secevent+jwt", algorithms: ["RS256"] });
    for (const [type, event] of Object.entries(payload.events)) console.log(type, payload.sub_id.sub ?? "-", event.change_type ?? "-");
    ack.push(jti); // only once it is done: what is not acknowledged comes again
  }
}
