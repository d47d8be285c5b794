// A small authenticator app: it enrols, answers logins, backs up, and comes back after a reinstall. It needs Node 18.
//
//   node phone.mjs enroll LINK            the link of a ticket, or the text of its QR code
//   node phone.mjs approve NUMBER         as soon as a login asks; or: deny
//   node phone.mjs backup '["a","b"]'     the accounts, as JSON
//   node phone.mjs restore CODE           after phone.json was lost
//   node phone.mjs allow                  on the old phone: the one that restores is mine
//
// phone.json stands for the phone: a real app keeps its private key in secure hardware. platform.json stands for the
// platform's own backup (Block Store, iCloud Keychain), which comes back after a reinstall.
import { createCipheriv, createDecipheriv, createHash, createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const load = (file) => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {});
let phone = load("phone.json");
const platform = load("platform.json");
function save() { // to the disk, and whole or not at all
  for (const [file, data] of [["phone.json", phone], ["platform.json", platform]]) {
    const handle = openSync(file + ".new", "w", 0o600);
    writeFileSync(handle, JSON.stringify(data));
    fsyncSync(handle);
    closeSync(handle);
    renameSync(file + ".new", file);
  }
}

const base64url = (data) => Buffer.from(data).toString("base64url");
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const now = () => Math.floor(Date.now() / 1000) + (phone.clockOff ?? 0);
function signed(claims) {
  const text = base64url(JSON.stringify({ alg: "ES256", typ: "JWT" })) + "." + base64url(JSON.stringify(claims));
  const key = createPrivateKey({ key: phone.key, format: "jwk" });
  return text + "." + base64url(sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }));
}

async function call(method, path, authorization, body, headers = {}) {
  if (body && !(body instanceof Buffer)) { body = JSON.stringify(body); headers["Content-Type"] = "application/json"; }
  if (authorization) headers.Authorization = authorization;
  const answer = await fetch(phone.base + path, { method, headers, body });
  if (answer.ok) return answer;
  const problem = await answer.json();
  throw Object.assign(new Error(problem.errorCode + ": " + problem.message), { code: problem.errorCode, date: answer.headers.get("Date") });
}
async function callAsDevice(method, path, body, headers = {}, again = true) { // iss is the enrollment's id here
  const claims = { iss: phone.id, sub: phone.user, aud: phone.base + "/api/device-accounts", iat: now(), exp: now() + 1800 };
  try {
    return await call(method, "/api/device-accounts/" + phone.id + path, "Bearer " + signed(claims), body, headers);
  } catch (e) {
    if (e.code !== "clock_skew" || !again) throw e;
    phone.clockOff = Math.round((Date.parse(e.date) - Date.now()) / 1000); // and ask nobody to set a clock
    return callAsDevice(method, path, body, headers, false);
  }
}

function newPhone(base) { // on the disk before the call that names the key
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  platform.identifier ??= randomUUID();
  platform.base = base;
  phone = { base, key: privateKey.export({ format: "jwk" }) };
  save();
}
function installation() {
  const { kty, crv, x, y } = phone.key;
  return { identifier: platform.identifier, name: "Sample phone", public_key: { kty, crv, x, y, alg: "ES256", use: "sig" }, capabilities: ["number-matching"] };
}
function enrolled(told) { // written down and the code shown before the first authenticated call
  Object.assign(phone, { id: told.id, user: told.user_id, token: told.token, issuer: told.issuer });
  if (told.restore_handle) platform.handle = told.restore_handle;
  save();
  if (told.recovery_code) console.log("recovery code: " + told.recovery_code);
}

async function enroll(text) {
  const url = new URL(text);
  newPhone(url.searchParams.get("base_url") ?? url.origin + url.pathname.replace(/\/mfa\/enrollment$/, "") + "/appliance-mfa");
  const ticket = url.searchParams.get("enrollment_tx_id") ?? url.searchParams.get("ticket");
  enrolled(await (await call("POST", "/api/enroll", `Ticket id="${ticket}"`, installation())).json());
}
async function answer(accepted, number) {
  let asked = [];
  while (!asked.length) asked = await (await callAsDevice("GET", "/approvals?wait=30")).json();
  const { c, txtkn, cn, bm, l, s, d, nm } = asked[0];
  console.log("is it you?", JSON.stringify({ who: phone.user, at: cn, what: bm, where: l?.n, with: s?.b?.n, when: d, number: !!nm }));
  const claims = { iss: platform.identifier, sub: c, aud: phone.base + "/api/resolve-transaction", iat: now(), exp: now() + 30 }; // iss is the identifier here
  Object.assign(claims, { auth0_guardian_method: "push", auth0_guardian_accepted: accepted, ...(accepted && nm && { tutela_number: number }) });
  await call("POST", "/api/resolve-transaction", "Bearer " + txtkn, { challenge_response: signed(claims) });
  console.log(accepted ? "approved" : "denied");
}

const bound = (enrollment, generation) => Buffer.from(enrollment + "\0" + generation); // so no blob passes for a newer one
async function backup(accounts) {
  platform.blobKey ??= base64url(randomBytes(32)); // random: never made of anything that the server sees
  const generation = (platform.generation ?? 0) + 1;
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", Buffer.from(platform.blobKey, "base64url"), nonce).setAAD(bound(phone.id, generation));
  const blob = Buffer.concat([nonce, cipher.update(JSON.stringify(accounts)), cipher.final(), cipher.getAuthTag()]);
  const manifest = signed({ iss: phone.id, generation, parent: platform.manifest ?? "", digest: sha256(blob), size: blob.length, items: accounts.length,
    provider: "server", automatic_restore: true, iat: now() });
  save();
  const headers = { "Content-Type": "application/octet-stream", "Backup-Manifest": manifest };
  headers[generation > 1 ? "If-Match" : "If-None-Match"] = generation > 1 ? `"${generation - 1}"` : "*";
  const told = await (await callAsDevice("PUT", "/backup", blob, headers)).json();
  Object.assign(platform, { generation, manifest: sha256(manifest), ...(told.restore_handle && { handle: told.restore_handle }) });
  save();
  console.log("backed up as generation " + generation);
}
async function turn(begun) { // with the code in hand, while the old phone is asked; it may end the wait, or stop the restore
  let state = begun;
  while (state.reason === "old_device_asked") {
    console.log("the old phone is asked until " + state.wait_until);
    const left = Date.parse(state.wait_until) - Date.now();
    await new Promise((go) => setTimeout(go, Math.max(200, Math.min(left, 2000))));
    state = await (await call("GET", "/api/restores/" + begun.id, "Bearer " + begun.token)).json();
  }
  if (state.step !== "recovery_code") throw new Error(state.step + ": " + state.reason + (state.help ? " (" + state.help + ")" : ""));
}
async function allow() { // on the old phone, in the other hand: that is me
  let open = [];
  while (!open.length) open = await (await callAsDevice("GET", "/restores?wait=30")).json();
  const claims = { iss: phone.id, sub: phone.user, aud: phone.base + "/api/device-accounts", iat: now(), exp: now() + 1800 };
  await call("POST", `/api/restores/${open[0].id}/allow`, "Bearer " + signed(claims));
  console.log("allowed: " + open[0].name);
}
async function restore(code) {
  newPhone(platform.base);
  const proof = signed({ handle: sha256(platform.handle), iat: now() });
  const begun = await (await call("POST", "/api/restores", null, { restore_handle: platform.handle, ...installation() }, { "Restore-Proof": proof })).json();
  await turn(begun);
  enrolled(await (await call("POST", `/api/restores/${begun.id}/recovery-code`, "Bearer " + begun.token, { recovery_code: code })).json());
  const kept = await callAsDevice("GET", "/backup");
  const manifest = kept.headers.get("Backup-Manifest");
  const { iss, generation } = JSON.parse(Buffer.from(manifest.split(".")[1], "base64url"));
  if (generation < platform.generation) throw new Error("the server was rolled back");
  const blob = Buffer.from(await kept.arrayBuffer());
  const open = createDecipheriv("aes-256-gcm", Buffer.from(platform.blobKey, "base64url"), blob.subarray(0, 12)).setAAD(bound(iss, generation)).setAuthTag(blob.subarray(-16));
  console.log("accounts: " + open.update(blob.subarray(12, -16)) + open.final());
  Object.assign(platform, { generation, manifest: sha256(manifest) }); // after the accounts were read, not before
  save();
}

const [command, argument] = process.argv.slice(2);
const commands = { enroll, approve: (number) => answer(true, number), deny: () => answer(false), backup: (json) => backup(JSON.parse(json)), restore, allow };
await commands[command](argument).catch((e) => { console.error(e.message); process.exitCode = 1; });
