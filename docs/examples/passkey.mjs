// A login page of your own that asks for a passkey, by the MFA grant API:
//   tutela client add shop --scope openid --web-origin http://localhost:8090
//   node passkey.mjs http://localhost:8080 CLIENT_ID CLIENT_SECRET 8090
//   then open http://localhost:8090/?user=maria
import { createServer } from "node:http";

const [tutela, id, secret, port] = process.argv.slice(2);
const logins = new Map(); // by mfa_token, which the page must not see; in earnest: in your sessions

async function call(path, body, bearer) {
  const answer = await fetch(tutela + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(bearer && { Authorization: "Bearer " + bearer }) },
    body: JSON.stringify({ client_id: id, client_secret: secret, ...body }),
  });
  const members = await answer.json();
  if (!answer.ok) throw new Error(members.error + ": " + members.error_description);
  return members;
}

// The password was right: what is the browser to do?
async function begin({ user }) {
  const { mfa_token: token, mfa_requirements: needs } = await call("/mfa/start", { user_id: user });
  const key = crypto.randomUUID();
  if (needs.enroll) {
    const made = await call("/mfa/associate", { authenticator_types: ["webauthn-platform"] }, token);
    logins.set(key, { token, code: made.oob_code });
    return { key, create: made.publicKey, save: made.recovery_codes };
  }
  const { publicKey } = await call("/mfa/challenge", { mfa_token: token, challenge_type: "webauthn" });
  logins.set(key, { token });
  return { key, get: publicKey };
}

// The browser has done it: tokens.
async function finish({ key, credential }) {
  const { token, code } = logins.get(key);
  logins.delete(key);
  let tokens;
  if (code) {
    await call("/mfa/associate/verify", { oob_code: code, credential }, token);
    tokens = await call("/oauth/token", { grant_type: "http://auth0.com/oauth/grant-type/mfa-oob", mfa_token: token, oob_code: code });
  } else {
    tokens = await call("/oauth/token", { grant_type: "urn:tutela:params:grant-type:mfa-webauthn", mfa_token: token, credential });
  }
  const claims = JSON.parse(Buffer.from(tokens.id_token.split(".")[1], "base64url")); // verify it first: login-systems.md, 4
  return { said: "Welcome, " + claims.sub + ", by " + claims.amr.join(" and ") };
}

const page = `<!doctype html><title>Sign in</title><button>Sign in with a passkey</button><p></p><script type="module">
  const post = async (path, body) => (await fetch(path, { method: "POST", body: JSON.stringify(body) })).json();
  const show = (text) => document.querySelector("p").textContent = text;
  document.querySelector("button").onclick = async () => {
    try {
      const { key, create, get, save, error } = await post("/begin", { user: new URLSearchParams(location.search).get("user") });
      if (error) return show(error);
      const credential = create
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(create) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(get) });
      const { said, error: refused } = await post("/finish", { key, credential: credential.toJSON() });
      show([refused ?? said, save && "Save your recovery code: " + save].filter(Boolean).join(". "));
    } catch (e) {
      show(e.message); // the person has closed the browser's dialog, or has no passkey here
    }
  };
</script>`;

createServer(async (request, response) => {
  if (request.method === "GET") return response.writeHead(200, { "Content-Type": "text/html" }).end(page);
  let body = "";
  for await (const part of request) body += part;
  try {
    const act = { "/begin": begin, "/finish": finish }[request.url];
    response.end(JSON.stringify(await act(JSON.parse(body))));
  } catch (e) {
    response.end(JSON.stringify({ error: e.message }));
  }
}).listen(port, () => console.log(`open http://localhost:${port}/?user=maria`));
