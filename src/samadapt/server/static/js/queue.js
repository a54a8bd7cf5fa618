// What was pressed, in order: each thing is done as if everything before it had been answered.

import { complain } from "./ui.js";

const listeners = new Set();
let tail = Promise.resolve();
let pending = 0;
let leaving = 0;

/**
 * Do something when all that was pressed before is done. Resolves when it is done itself; what goes
 * wrong is told. Never wait for this inside of such an action.
 */
export function inOrder(action) {
  pending += 1;
  tell();
  tail = tail.then(action).catch(complain).finally(() => {
    pending -= 1;
    tell();
  });
  return tail;
}

/** As `inOrder`, for what changes the image: until it is done, nothing can be clicked. */
export function leaveInOrder(action) {
  leaving += 1;
  return inOrder(action).finally(() => { leaving -= 1; });
}

/** Whether something that was pressed is not done yet. */
export function isBusy() {
  return pending > 0;
}

/** Whether another image is about to be shown. */
export function isLeaving() {
  return leaving > 0;
}

/** Be told when work begins and ends. */
export function onBusy(listener) {
  listeners.add(listener);
}

function tell() {
  for (const listener of listeners) listener(pending > 0);
}
