// Keyboard focus: a control that was used with the mouse loses the focus again, so that keys act on
// the image; one that was reached with Tab keeps it.

const NATIVE = "input[type=range], input[type=checkbox], select";
let byPointer = null; // the control that was pressed last with the pointer

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
      // A choice in a list is made after the pointer was released.
      if (used && (kind === "change" || !used.matches("select"))) setTimeout(() => used.blur());
    }, { capture: true });
  }
}

/** Return true if the focused control uses a key itself. */
export function hasOwnUse(event) {
  const { target } = event;
  if (target.matches?.("button, summary, [role=button], [role=checkbox]")) return event.key === "Enter" || event.code === "Space";
  if (target === byPointer) return false; // a slider that was used with the mouse does not take the arrow keys
  if (target.matches?.("input[type=checkbox]")) return event.code === "Space";
  return Boolean(target.matches?.("input[type=range]")) && event.key.startsWith("Arrow");
}

function controlOf(element) {
  const control = element.closest?.("label")?.querySelector(NATIVE) ?? element;
  return control.matches?.(NATIVE) && !control.closest(".veil") ? control : null;
}
