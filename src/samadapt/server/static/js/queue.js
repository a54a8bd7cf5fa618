// The queue of actions: each runs after all actions before it have been answered.

import { complain } from "./ui.js";

const listeners = new Set();
let tail = Promise.resolve();
let pending = 0;
let leavingNow = 0;

/**
 * Run an action after all actions that were queued before. Returns a promise that resolves when it has
 * ended; its errors are shown to the person. An action must not await another call of this: deadlock.
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

/** Do the same as `inOrder` for an action that changes the image; blocks clicks until it has ended. */
export function leaveInOrder(action) {
  leavingNow += 1;
  return inOrder(action).finally(() => { leavingNow -= 1; });
}

/** Run a part of an action at once; blocks clicks until it has ended. */
export async function leaving(action) {
  leavingNow += 1;
  try {
    return await action();
  } finally {
    leavingNow -= 1;
  }
}

/** Return true if an action has not ended yet. */
export function isBusy() {
  return pending > 0;
}

/** Return true while another image is about to be shown. */
export function isLeaving() {
  return leavingNow > 0;
}

/** Call `listener` with true or false when the queue becomes busy or idle. */
export function onBusy(listener) {
  listeners.add(listener);
}

function tell() {
  for (const listener of listeners) listener(pending > 0);
}
