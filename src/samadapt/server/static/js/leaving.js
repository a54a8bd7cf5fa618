// What happens to an object that is not accepted when its image is left.

import { current, drop, finalMask, hasObject } from "./current.js";
import { acceptCurrent } from "./objects.js";
import { configure, state } from "./state.js";
import { dialog, h } from "./ui.js";

export const ANSWERS = { ask: "ask", accept: "accept it", drop: "drop it" };

/** Accept or drop the object under way, asking if necessary; true if the image may be left. */
export async function mayLeave() {
  if (!hasObject()) return true;
  const canAccept = Boolean(finalMask());
  let answer = state.settings.leaving;
  if (!["accept", "drop"].includes(answer) || (answer === "accept" && !canAccept)) answer = await asked(canAccept);
  if (answer === "accept") await acceptCurrent();
  else if (answer === "drop") await drop();
  return answer !== "stay" && !hasObject();
}

function asked(canAccept) {
  return new Promise((done) => {
    let answer = "stay";
    dialog("This object is not accepted yet", (close) => {
      const again = h("input", { type: "checkbox" });
      const choose = (wanted) => {
        answer = wanted;
        if (again.checked && wanted !== "stay") configure({ leaving: wanted });
        close();
      };
      const button = (kind, wanted, text) => h(`button.button${kind}`, { "data-leave": wanted, onclick: () => choose(wanted) }, text);
      return [
        h("p", {}, current.edited ? "Its changes are lost if you drop them." : "It is lost if you drop it."),
        h("div.end", {},
          canAccept && button(".main", "accept", current.edited ? "Save" : "Accept"),
          button(".danger", "drop", "Drop"), button("", "stay", "Stay here")),
        h("label.check", {}, again, "Do the same from now on (the View panel can change it)"),
      ];
    }, true, () => done(answer));
  });
}
