"use strict";

// Makes or uses a passkey where a form asks for one: the form's options (JSON, as the server made them) go to the browser, and
// what the authenticator answers goes into its field "credential", and is sent.
for (const form of document.querySelectorAll("form[data-passkey]")) {
  const said = form.querySelector("[data-passkey-said]");
  const button = form.querySelector("[data-passkey-go]");
  const here = window.PublicKeyCredential && window.SimpleWebAuthnBrowser;
  if (!here) {
    said.textContent = form.dataset.none;
    continue;
  }
  button.hidden = false;
  button.addEventListener("click", async () => {
    const optionsJSON = JSON.parse(form.dataset.options);
    said.textContent = form.dataset.waiting;
    button.disabled = true;
    try {
      const browser = window.SimpleWebAuthnBrowser;
      const credential = form.dataset.passkey === "create"
        ? await browser.startRegistration({ optionsJSON })
        : await browser.startAuthentication({ optionsJSON });
      form.elements.credential.value = JSON.stringify(credential);
      form.requestSubmit();
    } catch (failure) {
      button.disabled = false;
      said.textContent = failure.name === "InvalidStateError" ? form.dataset.known : form.dataset.failed;
    }
  });
}
