// Drives Auth0's official client of the Management API, npm auth0, as it is, on a house that the environment names. Each call prints a
// line of JSON: the function, what it called, the answer's status and errorCode, and what was wrong with what it returned.
"use strict";

const assert = require("node:assert");

// The last answer, seen at fetch: the client knows nothing of it.
let last = null;
const fetchAsItIs = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const answer = await fetchAsItIs(input, init);
  const url = new URL(typeof input === "string" ? input : input.url ?? input);
  const at = url.pathname.indexOf("/api/v2");
  if (at >= 0) {
    let code = "";
    if (answer.status >= 400) {
      try { code = (await answer.clone().json()).errorCode; } catch { code = "no JSON"; }
    }
    last = { call: `${init?.method ?? input.method ?? "GET"} ${url.pathname.slice(at + "/api/v2".length)}`, status: answer.status, code };
  }
  return answer;
};

const { ManagementClient } = require("auth0");
const client = new ManagementClient({ domain: process.env.DOMAIN, clientId: process.env.CLIENT_ID, clientSecret: process.env.CLIENT_SECRET });
const enrollment = process.env.ENROLLMENT;

const step = async (name, call) => {
  last = null;
  let fault = "";
  try {
    await call();
  } catch (err) {
    if (err instanceof assert.AssertionError || !last || last.status < 400) fault = String(err.stack);
  }
  if (!last) fault ||= "it made no call";
  console.log(JSON.stringify({ name, ...last, fault }));
};

const factors = client.guardian.factors;
const push = factors.pushNotification;
const ada = "auth0|ada/1";
let method = "totp|dev_0000000000000000";
let logID = "0";

const steps = [
  ["guardian.factors.list", async () => assert.equal((await factors.list()).length, 8)],
  ["guardian.factors.set(otp)", async () => assert.deepEqual(await factors.set("otp", { enabled: true }), { enabled: true })],
  ["guardian.factors.set(sms, false)", async () => assert.deepEqual(await factors.set("sms", { enabled: false }), { enabled: false })],
  ["guardian.factors.set(sms, true)", () => factors.set("sms", { enabled: true })],
  ["guardian.policies.list", async () => assert.deepEqual(await client.guardian.policies.list(), [])],
  ["guardian.policies.set", () => client.guardian.policies.set(["all-applications"])],
  ["guardian.factors.pushNotification.getSelectedProvider", async () => assert.equal((await push.getSelectedProvider()).provider, "guardian")],
  ["guardian.factors.pushNotification.setProvider", () => push.setProvider({ provider: "guardian" })],
  ["guardian.factors.pushNotification.setProvider(sns)", () => push.setProvider({ provider: "sns" })],
  ["guardian.factors.pushNotification.getApnsProvider", async () => assert.equal((await push.getApnsProvider()).enabled, false)],
  ["guardian.factors.pushNotification.setApnsProvider", async () =>
    assert.deepEqual(await push.setApnsProvider({ sandbox: true, bundle_id: "com.my.app" }), { sandbox: true, bundle_id: "com.my.app" })],
  ["guardian.factors.pushNotification.updateApnsProvider", async () =>
    assert.deepEqual(await push.updateApnsProvider({ sandbox: false }), { sandbox: false, bundle_id: "com.my.app" })],
  ["guardian.factors.pushNotification.setFcmv1Provider", () => push.setFcmv1Provider({ server_credentials: "tutela" })],
  ["guardian.factors.pushNotification.updateFcmv1Provider", () => push.updateFcmv1Provider({ server_credentials: "tutela" })],
  ["guardian.factors.pushNotification.setFcmProvider", () => push.setFcmProvider({ server_key: "x" })],
  ["guardian.factors.pushNotification.updateFcmProvider", () => push.updateFcmProvider({ server_key: "x" })],
  ["guardian.factors.pushNotification.getSnsProvider", () => push.getSnsProvider()],
  ["guardian.factors.pushNotification.setSnsProvider", () => push.setSnsProvider({})],
  ["guardian.factors.pushNotification.updateSnsProvider", () => push.updateSnsProvider({})],
  ["guardian.factors.sms.getTwilioProvider", () => factors.sms.getTwilioProvider()],
  ["guardian.factors.sms.setTwilioProvider", () => factors.sms.setTwilioProvider({})],
  ["guardian.factors.sms.getSelectedProvider", () => factors.sms.getSelectedProvider()],
  ["guardian.factors.sms.setProvider", () => factors.sms.setProvider({ provider: "twilio" })],
  ["guardian.factors.sms.getTemplates", () => factors.sms.getTemplates()],
  ["guardian.factors.sms.setTemplates", () => factors.sms.setTemplates({ enrollment_message: "x", verification_message: "x" })],
  ["guardian.factors.phone.getMessageTypes", () => factors.phone.getMessageTypes()],
  ["guardian.factors.phone.setMessageTypes", () => factors.phone.setMessageTypes({ message_types: ["sms"] })],
  ["guardian.factors.phone.getTwilioProvider", () => factors.phone.getTwilioProvider()],
  ["guardian.factors.phone.setTwilioProvider", () => factors.phone.setTwilioProvider({})],
  ["guardian.factors.phone.getSelectedProvider", () => factors.phone.getSelectedProvider()],
  ["guardian.factors.phone.setProvider", () => factors.phone.setProvider({ provider: "twilio" })],
  ["guardian.factors.phone.getTemplates", () => factors.phone.getTemplates()],
  ["guardian.factors.phone.setTemplates", () => factors.phone.setTemplates({ enrollment_message: "x", verification_message: "x" })],
  ["guardian.factors.duo.settings.get", () => factors.duo.settings.get()],
  ["guardian.factors.duo.settings.set", () => factors.duo.settings.set({})],
  ["guardian.factors.duo.settings.update", () => factors.duo.settings.update({})],

  ["users.create", async () => assert.equal((await client.users.create({
    user_id: ada, connection: "Username-Password-Authentication", email: "ada@example.com", password: "dropped" })).nickname, "ada")],
  ["users.get", async () => assert.equal((await client.users.get(ada)).email, "ada@example.com")],
  ["users.update", async () => assert.equal((await client.users.update(ada, { app_metadata: { plan: "gold" }, name: "Ada" })).app_metadata.plan, "gold")],
  ["users.list", async () => {
    const page = await client.users.list({ q: 'email:"ada@example.com"', per_page: 10, include_totals: true });
    assert.equal(page.data.length, 1);
  }],
  ["users.listUsersByEmail", async () => assert.equal((await client.users.listUsersByEmail({ email: "ada@example.com" })).length, 1)],
  ["userBlocks.list", async () => assert.deepEqual((await client.userBlocks.list(ada)).blocked_for, [])],
  ["userBlocks.listByIdentifier", async () => assert.deepEqual((await client.userBlocks.listByIdentifier({ identifier: "ada@example.com" })).blocked_for, [])],
  ["userBlocks.delete", () => client.userBlocks.delete(ada)],
  ["userBlocks.deleteByIdentifier", () => client.userBlocks.deleteByIdentifier({ identifier: "ada@example.com" })],
  ["users.regenerateRecoveryCode", async () => assert.equal((await client.users.regenerateRecoveryCode(ada)).recovery_code.length, 24)],
  ["users.logs.list", () => client.users.logs.list(ada)],
  ["users.multifactor.invalidateRememberBrowser", () => client.users.multifactor.invalidateRememberBrowser(ada)],
  ["users.multifactor.deleteProvider(google-authenticator)", () => client.users.multifactor.deleteProvider(ada, "google-authenticator")],
  ["users.multifactor.deleteProvider(duo)", () => client.users.multifactor.deleteProvider(ada, "duo")],
  ["users.authenticationMethods.create", async () => {
    method = (await client.users.authenticationMethods.create(ada, { type: "totp", name: "old app", totp_secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" })).id;
  }],
  ["users.authenticationMethods.list", () => client.users.authenticationMethods.list(ada)],
  ["users.authenticationMethods.get", () => client.users.authenticationMethods.get(ada, method)],
  ["users.authenticationMethods.update", () => client.users.authenticationMethods.update(ada, method, { name: "her app" })],
  ["users.authenticationMethods.delete", () => client.users.authenticationMethods.delete(ada, method)],
  ["users.authenticationMethods.set", () => client.users.authenticationMethods.set(ada, [
    { type: "totp", name: "another app", totp_secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" }])],
  ["users.authenticationMethods.deleteAll", () => client.users.authenticationMethods.deleteAll(ada)],
  ["users.authenticators.deleteAll", () => client.users.authenticators.deleteAll(ada)],
  ["users.delete", () => client.users.delete(ada)],
  ["users.get, of one who is gone", () => client.users.get(ada)],

  ["guardian.enrollments.createTicket", async () => {
    const ticket = await client.guardian.enrollments.createTicket({ user_id: "auth0|bob" });
    assert.equal(ticket.ticket_id.length, 32);
    assert.equal(ticket.ticket_url, `https://${process.env.DOMAIN}/mfa/enrollment?ticket=${ticket.ticket_id}`);
  }],
  ["guardian.enrollments.createTicket, of one who is enrolled", () => client.guardian.enrollments.createTicket({ user_id: "maria" })],
  ["guardian.enrollments.createTicket, by phone", () => client.guardian.enrollments.createTicket({ user_id: "auth0|bob", factor: "phone" })],
  ["users.enrollments.get", async () => {
    const list = await client.users.enrollments.get("maria");
    assert.equal(list.length, 1);
    assert.equal(list[0].id, enrollment);
    assert.equal(list[0].auth_method, "guardian");
  }],
  ["guardian.enrollments.get", async () => assert.equal((await client.guardian.enrollments.get(enrollment)).status, "confirmed")],
  ["guardian.enrollments.delete", () => client.guardian.enrollments.delete(enrollment)],
  ["guardian.enrollments.get, of one that is gone", () => client.guardian.enrollments.get(enrollment)],

  ["logs.list", async () => {
    const page = await client.logs.list({ per_page: 5, include_totals: true });
    assert.equal(page.data.length, 5);
    logID = page.data[0].log_id;
  }],
  ["logs.get", async () => assert.equal((await client.logs.get(logID)).log_id, logID)],

  ["users.connectedAccounts.list", () => client.users.connectedAccounts.list("maria")],
  ["users.organizations.list", () => client.users.organizations.list("maria")],
  ["users.permissions.list", () => client.users.permissions.list("maria")],
  ["users.roles.list", () => client.users.roles.list("maria")],
  ["users.sessions.list", () => client.users.sessions.list("maria")],
];

(async () => {
  for (const [name, call] of steps) await step(name, call);
})();
