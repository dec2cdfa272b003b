// Everything here only makes quicker what works without it.

const policy = globalThis.trustedTypes?.createPolicy("comity", { createHTML: (text) => text });

/** A page of our own as a document. Only answers of this origin are ever read. */
async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" }, redirect: "follow" });
  const text = await answer.text();
  const page = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
  return { answer, page };
}

// -- copy boxes: the button is of no use without script, so it is shown here
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select();
      return;
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 2000);
  });
}

// -- what stands behind the # of a link, into its field and off the address
for (const form of document.querySelectorAll("form[data-from-fragment]")) {
  const field = form.elements[form.dataset.fromFragment];
  const text = decodeURIComponent(location.hash.slice(1));
  if (!text || field.value) continue;
  field.value = text;
  history.replaceState(null, "", location.pathname + location.search);
}

// -- what only those without script need to press
function quieted(within) {
  for (const button of within.querySelectorAll("[data-without-script]")) button.hidden = true;
}
quieted(document);

// -- dialogs: a link to a page of its own, shown over this one
function opened(content, from) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  const heading = content.querySelector("h1");
  if (heading) {
    heading.id ||= "dialog-title";
    dialog.setAttribute("aria-labelledby", heading.id);
  }
  dialog.append(...content.childNodes);
  quieted(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    from?.focus();
  });
  dialog.addEventListener("click", (event) => {
    const close = event.target.closest("[data-close]");
    if (close) {
      event.preventDefault();
      dialog.close();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  try {
    const { answer, page } = await fetched(link.href);
    const content = page.querySelector("[data-dialog-content]");
    // Led elsewhere, such as to signing in, or no dialog: then it is a page.
    if (answer.redirected || !answer.ok || !content) throw new Error("a page");
    opened(document.importNode(content, true), link);
  } catch {
    location.assign(link.href);
  }
});

// -- customer IDs: a typing mistake is found before anything is sent
const SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

/** What is wrong with a customer ID, as the server would say it; nothing if it may be one. */
function mistyped(text) {
  let rest = 0;
  let count = 0;
  for (const letter of text.replace(/[- ]/g, "").toUpperCase().replace(/O/g, "0").replace(/[IL]/g, "1")) {
    const digit = SYMBOLS.indexOf(letter);
    count += 1;
    if (digit < 0 || (count < 22 && digit > 31) || count > 22) return "It must be 22 letters and digits, such as 7K2MQ-4VXN0-8R3TD-W5YHC-1B.";
    if (count < 22) rest = (rest * 32 + digit) % 37;
    else if (digit !== rest) return "It has a typing mistake: compare it letter by letter with what you were given.";
  }
  return count === 22 ? "" : `It must be 22 letters and digits; these are ${count}.`;
}

/** Whether the customer ID in a field may be one; says below it what is wrong. */
function checked(field) {
  const why = mistyped(field.value.trim());
  const box = field.closest(".field");
  let said = box.querySelector(".error");
  if (!why) {
    said?.remove();
    box.classList.remove("wrong");
    field.removeAttribute("aria-invalid");
    field.setAttribute("aria-describedby", `h-${field.name}`);
    return true;
  }
  if (!said) {
    said = document.createElement("p");
    said.className = "error";
    said.id = `e-${field.name}`;
    said.setAttribute("role", "alert");
    box.append(said);
  }
  said.textContent = why;
  box.classList.add("wrong");
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", said.id);
  return false;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-check-symbol]") && event.target.value.trim()) checked(event.target);
});
document.addEventListener("submit", (event) => {
  const field = event.target.querySelector("[data-check-symbol]");
  if (!field || checked(field)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  field.focus();
});

// -- a form is sent once, however often its button is pressed
document.addEventListener("submit", (event) => {
  const form = event.target;
  if ((event.submitter?.getAttribute("formmethod") ?? form.method) !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
  }
});

// -- what a form would give, as soon as something in it changes
document.addEventListener("change", async (event) => {
  const form = event.target.closest("form[data-preview]");
  // What says nothing about what is given changes nothing of it, and takes no button from under a click.
  if (!form || event.target.closest("[data-aside]")) return;
  const asked = new URL(form.action);
  const fields = new FormData(form);
  for (const aside of form.querySelectorAll("[data-aside] [name]")) fields.delete(aside.name);
  asked.search = new URLSearchParams(fields).toString();
  const turn = (form.dataset.turn = String(Number(form.dataset.turn ?? 0) + 1));
  try {
    const { answer, page } = await fetched(asked);
    const result = page.querySelector("[data-preview-result]");
    // An older answer says nothing about what is ticked now.
    if (answer.redirected || !result || form.dataset.turn !== turn) return;
    form.querySelector("[data-preview-result]").replaceChildren(...document.importNode(result, true).childNodes);
  } catch {
    // then the button asks
    for (const button of form.querySelectorAll("[data-without-script]")) button.hidden = false;
  }
});

// -- menus close when one looks elsewhere
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// -- counts without reloading, while somebody looks
const live = document.querySelector("[data-live]");
if (live) {
  const notice = document.querySelector("[data-live-notice]");
  let version = null;
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(live.dataset.live, { headers: { accept: "application/json" }, redirect: "error" });
      if (!answer.ok) return;
      const told = await answer.json();
      for (const [name, count] of Object.entries(told.counts ?? {}))
        for (const place of document.querySelectorAll(`[data-count="${CSS.escape(name)}"]`))
          if (place.textContent !== String(count)) place.textContent = String(count);
      if (version !== null && told.version !== version && notice) notice.hidden = false;
      version = told.version;
      // What one was in is over: the page that says so, and not a form sent once more.
      if (told.over && live.dataset.over) location.replace(live.dataset.over);
    } catch {
      // the next look may do better
    }
  };
  setInterval(look, 3000);
  document.addEventListener("visibilitychange", look);
  look();
}

// -- what is left of a stay
const left = document.querySelector("time[data-ends]");
if (left) {
  const ends = Date.parse(left.dateTime);
  // The server's clock counts: how far this one is off was the same when the page was made.
  const off = Date.parse(left.dataset.now) - Date.now();
  const tick = () => {
    const seconds = Math.max(0, Math.ceil((ends - Date.now() - off) / 1000));
    const minutes = Math.floor(seconds / 60);
    left.textContent = seconds >= 60 ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${seconds} s`;
    if (seconds === 0) {
      clearInterval(timer);
      // Not a reload: the page may be the answer to entering, which would be sent once more. On a
      // page about something else, what is being typed there stays.
      if (left.dataset.ends) location.replace(left.dataset.ends);
    }
  };
  const timer = setInterval(tick, 1000);
  tick();
}

// -- an application takes over: its form is sent once, by itself
const launch = document.querySelector("form[data-launch]");
if (launch) {
  // Whoever comes back by the browser's history has seen it already.
  const [come] = performance.getEntriesByType("navigation");
  if (come?.type !== "back_forward") launch.requestSubmit();
}

// -- passkeys: only the browser speaks with the authenticator
const passkeys = globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON;
for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (passkeys) form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    const said = form.querySelector("[data-passkey-said]");
    said.hidden = true;
    try {
      const answer = await (form.dataset.passkey === "make" ? made(form) : shown(form));
      form.elements.passkey.value = JSON.stringify(answer.toJSON());
      form.submit();
    } catch (error) {
      said.textContent = wrongWith(error);
      said.hidden = false;
    }
  });
}

function made(form) {
  const asked = JSON.parse(form.dataset.options).publicKey;
  return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked) });
}

async function shown(form) {
  const answer = await fetch(form.dataset.begin, { method: "POST" });
  if (!answer.ok) throw new Error(answer.status === 429 ? "often" : "begin");
  const { ceremony, options } = await answer.json();
  form.elements.ceremony.value = ceremony;
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey) });
}

function wrongWith(error) {
  if (error.name === "NotAllowedError" || error.name === "AbortError") return "It was cancelled, or took too long. Try once more.";
  if (error.name === "InvalidStateError") return "This device holds a passkey of yours already.";
  if (error.name === "SecurityError") return "This address is not the one that passkeys belong to.";
  if (error.message === "often") return "Too many tries. Wait a minute.";
  return "The passkey did not work. Try once more.";
}
