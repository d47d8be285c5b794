// What the tests call of auth0-guardian-js, which is as npm has it. In Node each line of the input is an expression whose value is
// printed; in a browser the tests evaluate it in the page.
"use strict";
const guardian = require("auth0-guardian-js");
const pollingClient = require("auth0-guardian-js/lib/utils/polling_client");
const httpClient = require("auth0-guardian-js/lib/utils/http_client");
const page = require("./page.js"); // which the tests make of the documented one

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

function follow(name, transaction) {
  flows[name] = { transaction, events: [], heard: () => {} };
  if (transaction) listen(flows[name]);
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
  follow(name, started);
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

// documented runs the page of docs/login-systems.md. What it shows and sends is an event.
async function documented(name, serviceUrl, mfaToken) {
  follow(name);
  const flow = flows[name];
  const tell = (event) => { flow.events.push(event); flow.heard(); };
  page.run(serviceUrl, mfaToken, {
    send: (signature) => tell({ name: "auth-response", accepted: true, signature }),
    show: (text) => tell({ name: "shown", text }),
    enrol: () => tell({ name: "enrols" }),
  });
}

// resume goes on with the transaction of a flow in a page that was loaded again. changes are what its stored state has otherwise.
async function resume(name, options, changes) {
  const stored = JSON.parse(JSON.stringify({ ...flows[name].transaction.serialize(), ...changes }));
  const resumed = await called((done) => guardian.resume(options, stored, done));
  if (resumed.error) return resumed;
  follow(name, resumed);
  flows[name].step = resumed.authVerificationStep || resumed.enrollmentConfirmationStep;
  return { enrolled: resumed.isEnrolled() };
}

// steps are the steps that a transaction says it is at, or its errors.
async function steps(name) {
  const { transaction } = flows[name];
  const at = (step) => { try { return { method: transaction[step]().getMethod() }; } catch (e) { return refused(e); } };
  return { verification: at("getAuthVerificationStep"), confirmation: at("getEnrollmentConfirmationStep") };
}

async function enroll(name, method, data) {
  const step = await called((done) => flows[name].transaction.enroll(method, data || null, done));
  if (step.error) return step;
  flows[name].step = step;
  return { uri: step.getUri() };
}

const confirm = (name, data) => called((done) => flows[name].step.confirm(data, done));

async function ask(name, method, enrollment = 0) {
  const { transaction } = flows[name];
  const step = await called((done) => transaction.requestAuth(transaction.getEnrollments()[enrollment], { method }, done));
  if (step.error) return step;
  flows[name].step = step;
  return {};
}

const verify = (name, data) => called((done) => flows[name].step.verify(data, done));
const recover = (name, recoveryCode) => called((done) => flows[name].transaction.recover({ recoveryCode }, done));
const state = (name) => called((done) => flows[name].transaction.getState(done));

const driver = { start, documented, resume, steps, event, enroll, confirm, ask, verify, recover, state };
if (typeof window === "undefined") {
  require("readline").createInterface({ input: process.stdin }).on("line", async (line) => {
    const { id, name, args } = JSON.parse(line);
    const value = (await driver[name](...args)) || {};
    process.stdout.write(JSON.stringify({ id, value }) + "\n");
  });
} else {
  window.driver = driver;
}
