// A login by Auth0's own SDK, as a login system would do it after the password:
//   node mfa.mjs mfa.example.com CLIENT_ID CLIENT_SECRET maria
import { AuthClient } from "@auth0/auth0-auth-js";
import { setTimeout as sleep } from "node:timers/promises";

const [domain, clientId, clientSecret, user, interval = "5"] = process.argv.slice(2);
const auth = new AuthClient({ domain, clientId, clientSecret });
try {
  // The one call that Auth0 has not: there the password gives the mfa_token, here the login system asks for it.
  const started = await fetch(`https://${domain}/mfa/start`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ client_id: clientId, client_secret: clientSecret, user_id: user, ip: "203.0.113.7" }),
  });
  const { mfa_token: mfaToken, mfa_requirements: needs } = await started.json();
  if (needs.enroll) throw new Error(user + " has nothing enrolled: auth.mfa.enrollAuthenticator({ mfaToken, authenticatorTypes: [\"oob\"], oobChannels: [\"auth0\"] })");
  const { oobCode } = await auth.mfa.challengeAuthenticator({ mfaToken, challengeType: "oob" });
  console.log("Open the app on your phone and answer");
  for (;;) {
    await sleep(Number(interval) * 1000);
    try {
      const tokens = await auth.mfa.verify({ mfaToken, factorType: "oob", oobCode });
      console.log("Welcome, " + tokens.claims.sub); // of the ID token, which was verified
      break;
    } catch (e) {
      if (e.cause?.error !== "authorization_pending" && e.cause?.error !== "slow_down") throw e;
    }
  }
} catch (e) {
  console.log(e.cause?.error ? e.cause.error + ": " + e.message : e.message);
  process.exitCode = 1;
}
