// The key to the server: given for the code in the address, and kept by the browser for this server
// alone (a cookie would be shown to servers on other ports, too).

const NAME = "samadapt-key";
let mine = "";

/** Exchange the code in the address, if there is one, for a key; the address loses it. */
export async function enter() {
  const code = new URLSearchParams(location.search).get("code");
  if (location.search) history.replaceState(null, "", "/");
  if (!code) return;
  const response = await fetch("/api/enter", { method: "POST", headers: { "x-samadapt-code": code } }).catch(() => null);
  if (response?.ok) keep((await response.json()).key);
}

/** Headers that let a request in; another tab may have got a newer key. */
function credentials() {
  try {
    mine = localStorage.getItem(NAME) ?? mine;
  } catch {
    // No storage: the key is good until the page is left.
  }
  return mine ? { authorization: `Bearer ${mine}` } : {};
}

/** Fetch something with the key. What takes long to be opened is answered by 202, which is no error. */
export function fetchWithKey(path, options = {}) {
  return fetch(path, { ...options, headers: { prefer: "respond-async", ...options.headers, ...credentials() } });
}

function keep(key) {
  mine = key;
  try {
    localStorage.setItem(NAME, key);
  } catch {
    // As above.
  }
}
