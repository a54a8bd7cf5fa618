// The page's key for the server: obtained with the one-time code in the URL, and kept in the browser's
// storage, which is separate for each port (a cookie would be sent to servers on other ports, too).

const NAME = "samadapt-key";
let mine = "";

/** Exchange the one-time code in the URL, if there is one, for a key; removes it from the URL. */
export async function enter() {
  const code = new URLSearchParams(location.search).get("code");
  if (location.search) history.replaceState(null, "", "/");
  if (!code) return;
  const response = await fetch("/api/enter", { method: "POST", headers: { "x-samadapt-code": code } }).catch(() => null);
  if (response?.ok) keep((await response.json()).key);
}

/** Return the headers with the key, read from storage as another tab may have a newer one. */
function credentials() {
  try {
    mine = localStorage.getItem(NAME) ?? mine;
  } catch {
    // No storage: the key is kept until the page is closed.
  }
  return mine ? { authorization: `Bearer ${mine}` } : {};
}

/** Fetch with the key; asks for status 202, not an error, while an image is being prepared. */
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
