// Drives npm's clients, as they are, through whole logins. For what a person does with a phone it asks the test: a line of JSON
// out, and a line of JSON back.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { createPrivateKey } from "node:crypto";
import { AuthClient } from "@auth0/auth0-auth-js";
import * as legacy from "auth0/legacy";
import { SignJWT } from "jose";
import * as openid from "openid-client";

const { domain, tap, number, signer, requester, admin, pem, user, recoveryCode, oldPhone } = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (...what) => {
  console.log(JSON.stringify(what));
  return JSON.parse((await answers.next()).value);
};
const said = (what) => console.log(JSON.stringify(["said", what]));
const importKey = () => crypto.subtle.importKey("pkcs8", createPrivateKey(pem).export({ type: "pkcs8", format: "der" }),
  { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const base = `https://${domain}`;
const audience = `${base}/mfa/`;

// refused awaits an error, and returns its OAuth code.
const refused = async (call) => {
  try {
    await call();
  } catch (e) {
    return e.cause?.error ?? e.error ?? e.message;
  }
  throw new Error("nothing was refused");
};

const start = async (client, userID = user) => {
  const answer = await fetch(`${base}/mfa/start`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ client_id: client.id, client_secret: client.secret, user_id: userID }),
  });
  assert.equal(answer.status, 200);
  return answer.json();
};

async function authJS() {
  const auth = new AuthClient({ domain, clientId: tap.id, clientSecret: tap.secret });
  const asked = await auth.initiateBackchannelAuthentication({ loginHint: { sub: user }, bindingMessage: "by auth-js", requestedExpiry: 60 });
  assert.equal(asked.interval, 5);
  assert.equal(await refused(() => auth.backchannelAuthenticationGrant(asked)), "authorization_pending");
  await ask("approve", "by auth-js");
  const tokens = await auth.backchannelAuthenticationGrant(asked);
  assert.equal(tokens.claims.sub, user);
  assert.deepEqual(tokens.claims.amr, ["mfa", "swk"]);
  const no = await auth.initiateBackchannelAuthentication({ loginHint: { sub: user }, bindingMessage: "no, auth-js" });
  await ask("deny", "no, auth-js");
  assert.equal(await refused(() => auth.backchannelAuthenticationGrant(no)), "access_denied");
  assert.equal(await refused(() => auth.initiateBackchannelAuthentication({ loginHint: { sub: "nobody" }, bindingMessage: "x" })), "unknown_user_id");
  said("@auth0/auth0-auth-js: CIBA");

  const signing = new AuthClient({ domain, clientId: signer.id, clientAssertionSigningKey: pem, clientAssertionSigningAlg: "ES256" });
  const signed = await signing.initiateBackchannelAuthentication({ loginHint: { sub: user }, bindingMessage: "signed" });
  await ask("approve", "signed");
  assert.equal((await signing.backchannelAuthenticationGrant(signed)).claims.aud, signer.id);
  said("@auth0/auth0-auth-js: CIBA by private_key_jwt");
  return auth;
}

async function mfa(auth) {
  let { mfa_token: mfaToken, mfa_requirements: needs } = await start(tap);
  assert.deepEqual(needs.challenge.map((f) => f.type), ["push-notification", "otp", "recovery-code"]);
  const list = await auth.mfa.listAuthenticators({ mfaToken });
  assert.deepEqual(list.map((a) => [a.authenticatorType, a.type, a.active]),
    [["oob", "push-notification", true], ["otp", "otp", true], ["recovery-code", "recovery-code", true]]);
  assert.deepEqual(list[0].oobChannels, ["auth0"]);

  const denied = await auth.mfa.challengeAuthenticator({ mfaToken, challengeType: "oob", authenticatorId: list[0].id });
  await ask("deny", "");
  const verify = (oobCode, more) => auth.mfa.verify({ mfaToken, factorType: "oob", oobCode, ...more });
  const no = await verify(denied.oobCode).catch((e) => e);
  assert.equal(no.cause.error, "access_denied");
  assert.equal(no.message, "MFA Authorization rejected.");
  const asked = await auth.mfa.challengeAuthenticator({ mfaToken, challengeType: "oob" });
  assert.equal(asked.challengeType, "oob");
  assert.equal(await refused(() => verify(asked.oobCode)), "authorization_pending");
  await ask("approve", "");
  const { data, response } = await verify(asked.oobCode, { fullResponse: true });
  assert.equal(data.claims.sub, user);
  assert.equal(response.status, 200);
  said("@auth0/auth0-auth-js: MFA by an approval");

  ({ mfa_token: mfaToken } = await start(tap));
  assert.equal((await auth.mfa.challengeAuthenticator({ mfaToken, challengeType: "otp" })).challengeType, "otp");
  assert.equal(await refused(() => auth.mfa.verify({ mfaToken, factorType: "otp", otp: "12345" })), "invalid_grant");
  const byOTP = await auth.mfa.verify({ mfaToken, factorType: "otp", otp: await ask("code") });
  assert.deepEqual(byOTP.claims.amr, ["mfa", "otp"]);
  said("@auth0/auth0-auth-js: MFA by a one-time code");

  const fresh = await start(tap, "a new user");
  assert.deepEqual(fresh.mfa_requirements.enroll.map((f) => f.type), ["push-notification", "otp"]);
  const made = await auth.mfa.enrollAuthenticator({ mfaToken: fresh.mfa_token, authenticatorTypes: ["otp"] });
  assert.equal(made.authenticatorType, "otp");
  assert.equal(made.recoveryCodes[0].length, 24);
  const first = await ask("codeOf", made.barcodeUri);
  const set = await auth.mfa.verify({ mfaToken: fresh.mfa_token, factorType: "otp", otp: first });
  assert.equal(set.claims.sub, "a new user");
  const other = await start(tap, "another new user");
  const app = await auth.mfa.enrollAuthenticator({ mfaToken: other.mfa_token, authenticatorTypes: ["oob"], oobChannels: ["auth0"] });
  await ask("enrol", app.barcodeUri);
  const enrolled = await auth.mfa.verify({ mfaToken: other.mfa_token, factorType: "oob", oobCode: app.oobCode });
  assert.equal(enrolled.claims.sub, "another new user");
  said("@auth0/auth0-auth-js: first enrolments");
}

// The way back when a phone is lost and no backup came along.
async function lostPhone(auth) {
  const { mfa_token: mfaToken } = await start(tap);
  const recovered = await auth.mfa.verify({ mfaToken, factorType: "recovery-code", recoveryCode, audience });
  assert.equal(recovered.recoveryCode.length, 24);
  const enrolment = recovered.accessToken;
  const made = await auth.mfa.enrollAuthenticator({ mfaToken: enrolment, authenticatorTypes: ["oob"], oobChannels: ["auth0"] });
  assert.equal(made.recoveryCodes, undefined);
  await ask("enrol", made.barcodeUri);
  const confirmed = await auth.mfa.verify({ mfaToken: enrolment, factorType: "oob", oobCode: made.oobCode });
  assert.deepEqual(confirmed.claims.amr, ["mfa", "rc"]);
  await auth.mfa.deleteAuthenticator({ mfaToken: enrolment, authenticatorId: "push|" + oldPhone });
  const list = await auth.mfa.listAuthenticators({ mfaToken: enrolment });
  assert.ok(!list.some((a) => a.id.endsWith(oldPhone)));
  assert.equal(await refused(() => auth.mfa.enrollAuthenticator({ mfaToken: enrolment, authenticatorTypes: ["otp"] })), "invalid_token");
  said("@auth0/auth0-auth-js: a new phone by the recovery code");
}

async function byLegacy() {
  const auth = new legacy.AuthenticationClient({ domain, clientId: tap.id, clientSecret: tap.secret });
  const asked = await auth.backchannel.authorize({ userId: user, binding_message: "by legacy", scope: "openid" });
  assert.equal(await refused(() => auth.backchannel.backchannelGrant(asked)), "authorization_pending");
  await ask("approve", "by legacy");
  const tokens = await auth.backchannel.backchannelGrant(asked);
  assert.equal(tokens.token_type, "Bearer");
  const signing = new legacy.AuthenticationClient({ domain, clientId: signer.id, clientAssertionSigningKey: pem, clientAssertionSigningAlg: "ES256" });
  const signed = await signing.backchannel.authorize({ userId: user, binding_message: "legacy signed", scope: "openid" });
  await ask("approve", "legacy signed");
  assert.ok((await signing.backchannel.backchannelGrant(signed)).id_token);
  const program = new legacy.AuthenticationClient({ domain, clientId: admin.id, clientSecret: admin.secret });
  const token = await program.oauth.clientCredentialsGrant({ audience: `${base}/api/v2/` });
  assert.equal(token.data.token_type, "Bearer");
  said("auth0/legacy: CIBA by secret and by private_key_jwt, client credentials");
}

async function byOpenID() {
  const secret = await openid.discovery(new URL(base + "/"), number.id, undefined, openid.ClientSecretBasic(number.secret));
  const key = await importKey();
  const signing = await openid.discovery(new URL(base + "/"), signer.id, undefined, openid.PrivateKeyJwt({ key, kid: "one" }));
  for (const [name, config] of [["by secret", secret], ["by a key", signing]]) {
    openid.enableNonRepudiationChecks(config); // it verifies the ID token's signature
    const asked = await openid.initiateBackchannelAuthentication(config, { scope: "openid", login_hint: user, binding_message: name });
    assert.equal(asked.number?.length, config === secret ? 6 : undefined); // the other client says that it cannot show one
    await ask("approve", name, ...(asked.number ? [asked.number] : []));
    const tokens = await openid.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 0 });
    const claims = tokens.claims();
    assert.equal(claims.sub, user);
    assert.equal(claims.iss, base + "/");
    assert.equal(claims["urn:openid:params:jwt:claim:auth_req_id"], asked.auth_req_id);
  }
  assert.ok(signing.serverMetadata().token_endpoint_auth_methods_supported.includes("private_key_jwt"));
  assert.equal(await refused(() => openid.clientCredentialsGrant(secret, { audience: `${base}/api/v2/` })), "unauthorized_client");
  said("openid-client: CIBA by secret and by private_key_jwt");
}

// A client that signs what it asks. openid-client sends the parameter request as it is given; jose makes it.
async function bySignedRequests() {
  const key = await importKey();
  const config = await openid.discovery(new URL(base + "/"), requester.id, undefined, openid.PrivateKeyJwt({ key, kid: "one" }));
  const server = config.serverMetadata();
  assert.ok(server.backchannel_authentication_request_signing_alg_values_supported.includes("ES256"));
  assert.ok(!server.backchannel_authentication_request_signing_alg_values_supported.some((alg) => alg === "none" || alg.startsWith("HS")));
  const sign = (claims) => new SignJWT({ scope: "openid", login_hint: user, ...claims })
    .setProtectedHeader({ alg: "ES256", kid: "one", typ: "oauth-authz-req+jwt" })
    .setIssuer(requester.id).setAudience(server.issuer).setJti(crypto.randomUUID())
    .setIssuedAt().setNotBefore(new Date()).setExpirationTime("5m").sign(key);
  const request = await sign({ binding_message: "signed request" });
  const asked = await openid.initiateBackchannelAuthentication(config, { request });
  await ask("approve", "signed request", asked.number);
  const tokens = await openid.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 0 });
  assert.equal(tokens.claims().sub, user);
  assert.equal(await refused(() => openid.initiateBackchannelAuthentication(config, { request })), "invalid_request"); // it counts once
  assert.equal(await refused(() => openid.initiateBackchannelAuthentication(config, { scope: "openid", login_hint: user })), "invalid_request");
  const beside = { request: await sign(), login_hint: "somebody else" };
  assert.equal(await refused(() => openid.initiateBackchannelAuthentication(config, beside)), "invalid_request");
  said("openid-client and jose: CIBA by signed requests");
}

await byOpenID();
await bySignedRequests();
await byLegacy();
const auth = await authJS();
await mfa(auth);
await lostPhone(auth);
console.log(JSON.stringify(["done"]));
process.exit(0);
