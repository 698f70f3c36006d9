// Calls of the server, and its refusals in its own words.

/** The application's own folder: it may have a prefix, and be opened without the last slash. */
export const home = () => new URL(location.pathname.endsWith("/") ? "." : `${location.pathname}/`, location.href);

export const path = (relative) => new URL(relative, home()).href;

/** {ok, status, body, said}: `said` is what is wrong, "" where nothing is. Never throws. */
export async function ask(method, relative, { body, token } = {}) {
  const headers = {
    ...(body && { "Content-Type": "application/json" }),
    ...(token && { Authorization: `Bearer ${token}` }),
  };
  try {
    const answer = await fetch(path(relative), { method, headers, body: body && JSON.stringify(body) });
    const told = answer.status === 204 ? null : await answer.json().catch(() => null);
    return { ok: answer.ok, status: answer.status, body: told, said: answer.ok ? "" : refusal(answer, told) };
  } catch {
    return { ok: false, status: 0, body: null, said: "The server cannot be reached. Nothing has changed; try again." };
  }
}

/** The fields that are wrong, one after the other, or the one reason. */
function refusal(answer, told) {
  const detail = told?.detail;
  if (Array.isArray(detail))
    return detail.map(({ loc, msg }) => `${loc.slice(1).join(".") || loc[0]}: ${msg}`).join("; ");
  return detail ?? `The server answered ${answer.status} ${answer.statusText}`;
}

/** Which field of the request the server names, "" for none. */
export const fieldOf = (told) => (Array.isArray(told?.detail) ? String(told.detail[0]?.loc[1] ?? "") : "");
