// What the tests call of auth0-guardian-js, which is as npm has it. In Node each line of the input is an expression whose value is
// printed; in a browser the tests evaluate it in the page.
"use strict";
const guardian = require("auth0-guardian-js");
const pollingClient = require("auth0-guardian-js/lib/utils/polling_client");
const httpClient = require("auth0-guardian-js/lib/utils/http_client");

const flows = {}; // by name: the transaction, its step, and the events so far
const refused = (e) => ({ error: e.errorCode || e.name || "Error", status: e.statusCode || (e.response && e.response.statusCode) || 0 });
const called = (call) => new Promise((resolve) => call((err, value) => resolve(err ? refused(err) : value)));

function listen(flow) {
  for (const name of ["enrollment-complete", "auth-response", "timeout", "error"]) {
    flow.transaction.on(name, (payload) => {
      const told = name === "error" ? refused(payload) : payload || {};
      flow.events.push({ name, ...told, enrollment: told.enrollment && told.enrollment.serialize() });
      flow.heard();
    });
  }
}

// start starts a flow. With fast, the package's own polling client asks more often than every 5 s.
async function start(name, options, fast) {
  options = { issuer: { name: "Hafenlicht", label: "Hafenlicht" }, accountLabel: name, ...options };
  if (fast) {
    const http = httpClient(options.serviceUrl);
    const socketClient = pollingClient(options.serviceUrl, { httpClient: http, pollingIntervalMs: 300, minPollingIntervalMs: 300 });
    options.dependencies = { socketClient };
  }
  let started;
  try {
    started = await called((done) => guardian(options).start(done));
  } catch (e) {
    return refused(e);
  }
  if (started.error) return started;
  flows[name] = { transaction: started, events: [], heard: () => {} };
  listen(flows[name]);
  return {
    enrolled: started.isEnrolled(),
    enroll: started.getAvailableEnrollmentMethods(),
    types: started.isEnrolled() ? started.getEnrollments()[0].getAvailableAuthenticatorTypes() : [],
  };
}

// event waits for the next event of a flow.
async function event(name) {
  const flow = flows[name];
  while (flow.events.length === 0) await new Promise((resolve) => { flow.heard = resolve; });
  return flow.events.shift();
}

async function enroll(name, method) {
  const step = await called((done) => flows[name].transaction.enroll(method, null, done));
  if (step.error) return step;
  flows[name].step = step;
  return { uri: step.getUri() };
}

const confirm = (name, data) => called((done) => flows[name].step.confirm(data, done));

async function ask(name, method) {
  const { transaction } = flows[name];
  const step = await called((done) => transaction.requestAuth(transaction.getEnrollments()[0], { method }, done));
  if (step.error) return step;
  flows[name].step = step;
  return {};
}

const verify = (name, data) => called((done) => flows[name].step.verify(data, done));
const recover = (name, recoveryCode) => called((done) => flows[name].transaction.recover({ recoveryCode }, done));
const state = (name) => called((done) => flows[name].transaction.getState(done));

const driver = { start, event, enroll, confirm, ask, verify, recover, state };
if (typeof window === "undefined") {
  require("readline").createInterface({ input: process.stdin }).on("line", async (line) => {
    const { id, name, args } = JSON.parse(line);
    const value = (await driver[name](...args)) || {};
    process.stdout.write(JSON.stringify({ id, value }) + "\n");
  });
} else {
  window.driver = driver;
}
