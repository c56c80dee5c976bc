// Requests to the program that serves this page.

/** What the program refuses: its message, the key that it names, and the HTTP status. */
export class Refused extends Error {
  constructor(status, { message, key = null }) {
    super(message);
    this.status = status;
    this.key = key;
  }
}

async function answerOf(response) {
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(response.status, said.error ?? { message: `The program answers with status ${response.status}.` });
}

export const get = async (path, parameters = {}) => answerOf(await fetch(address(path, parameters)));

export const getJson = async (path, parameters) => (await get(path, parameters)).json();

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await answerOf(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }))).json();
}

/** The address with those parameters that have a value. */
export function address(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** One request at a time: while it runs, only the latest question waits. */
export class Latest {
  #waiting;
  #running = false;

  constructor(answer, failed) {
    Object.assign(this, { answer, failed });
  }

  /** True while a later question waits. */
  get overtaken() {
    return this.#waiting !== undefined;
  }

  ask(question = null) {
    this.#waiting = question;
    if (!this.#running) this.#run();
  }

  async #run() {
    this.#running = true;
    while (this.#waiting !== undefined) {
      const question = this.#waiting;
      this.#waiting = undefined;
      try {
        await this.answer(question);
      } catch (error) {
        this.failed(error);
      }
    }
    this.#running = false;
  }
}
