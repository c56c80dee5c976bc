// The text that the page ends in: command line and experiment, copied and saved.

import { $, all, element, say } from "./elements.js";
import { post } from "./requests.js";

/** `shown()` gives the view that is shown; `saved()` hears that something was written. */
export class Texts {
  constructor(shown, saved, failed) {
    Object.assign(this, { shown, saved, failed });
    for (const button of all("[data-copy]")) button.onclick = () => copy(button);
    $("#show-yaml").onclick = (event) => {
      const hidden = $("#experiment").toggleAttribute("hidden");
      event.target.setAttribute("aria-expanded", !hidden);
    };
    $("#save").onclick = () => this.#open();
    $("#save-now").onclick = () => this.#save(false);
    $("#save-over").onclick = () => this.#save(true);
    $("#saving form").onsubmit = (event) => event.submitter?.value !== "close" && (event.preventDefault(), this.#save(false));
    $("#saving").oninput = () => this.#fresh();
  }

  show({ command, yaml, notes }) {
    $("#command").textContent = command ?? "";
    $("#yaml").textContent = yaml ?? "";
    this.#note(notes?.join(" "));
  }

  #note(text) {
    say($("#notes"), text);
    $("#notes").title = text ?? "";
  }

  #fresh() {
    say($("#save-problem"), null);
    $("#save-over").hidden = $("#saved").hidden = true;
  }

  #open() {
    this.#fresh();
    const drawn = this.shown().shapes.length > 0;
    const mask = $("#saving [value=mask]");
    mask.disabled = !drawn;
    if (!drawn) $("#saving [value=experiment]").checked = true;
    $("#save-format").disabled = !drawn;
    $("#saving").showModal();
    $("#save-name").select();
  }

  async #save(overwrite) {
    if (!$("#saving form").reportValidity()) return;
    this.#fresh();
    const what = $("#saving [name=what]:checked").value;
    const view = this.shown();
    const body = { view, name: $("#save-name").value, what, format: $("#save-format").value, overwrite };
    try {
      const { written, next } = await post("api/save", body);
      $("#written").replaceChildren(...written.map((path) => element("li", { textContent: path })));
      $("#next-command").textContent = next;
      $("#saved").hidden = false;
      this.saved(view, body.name, `Saved: ${written.join(", ")}`);
    } catch (error) {
      if (error.status === undefined) this.failed(error);
      say($("#save-problem"), error.message);
      $("#save-over").hidden = error.status !== 409;
    }
  }
}

async function copy(button) {
  const from = $(`#${button.dataset.copy}`);
  try {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
  } catch { // not allowed here: select it, so that Ctrl+C copies
    getSelection().selectAllChildren(from);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
