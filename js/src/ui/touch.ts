/** Whether fingers are all that points here: no hover, no keys to hold. */
export const isTouch = () => window.matchMedia?.("(hover: none)").matches ?? false;
