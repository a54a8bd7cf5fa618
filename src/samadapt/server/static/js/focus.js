// Who has the keys: what was used with the mouse gives them back to the image, what was reached by
// Tab keeps them.

const NATIVE = "input[type=range], input[type=checkbox], select";
let byPointer = null; // the control that the pointer went down on last

export function startFocus() {
  addEventListener("pointerdown", (event) => { byPointer = controlOf(event.target); }, { capture: true });
  addEventListener("keydown", (event) => {
    if (event.key === "Tab") byPointer = null;
  }, { capture: true });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (event.detail > 0 && button && !button.closest(".veil")) button.blur();
  }, { capture: true });
  for (const kind of ["pointerup", "pointercancel", "change"]) {
    addEventListener(kind, () => {
      const used = byPointer;
      // A list is chosen from after the pointer went up.
      if (used && (kind === "change" || !used.matches("select"))) setTimeout(() => used.blur());
    }, { capture: true });
  }
}

/** Whether a control needs this key itself. */
export function hasOwnUse(event) {
  const { target } = event;
  if (target.matches?.("button, summary, [role=button], [role=checkbox]")) return event.key === "Enter" || event.code === "Space";
  if (target === byPointer) return false; // a slider that is dragged does not take the arrow keys
  if (target.matches?.("input[type=checkbox]")) return event.code === "Space";
  return Boolean(target.matches?.("input[type=range]")) && event.key.startsWith("Arrow");
}

function controlOf(element) {
  const control = element.closest?.("label")?.querySelector(NATIVE) ?? element;
  return control.matches?.(NATIVE) && !control.closest(".veil") ? control : null;
}
