/**
 * Scrolls a new screen into sight if its cell was run by Shift-Enter: JupyterLab then shows the next
 * cell, and of the output as much as there was at that moment.
 */
export function bringIntoSight(root: HTMLElement): () => void {
  // Front ends attach an output some time after they ask for it.
  const frame = requestAnimationFrame(() => {
    const next = root.closest(".jp-Cell")?.nextElementSibling;
    if (next?.classList.contains("jp-mod-active")) root.scrollIntoView({ block: "nearest" });
  });
  return () => cancelAnimationFrame(frame);
}
