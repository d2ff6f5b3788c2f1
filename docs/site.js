// A saved explorer in a frame reports its height, so that the frame needs no scrollbar.
addEventListener("message", (event) => {
  const height = event.data?.veneHeight;
  if (typeof height !== "number") return;
  for (const frame of document.querySelectorAll("iframe.vene-living")) {
    if (frame.contentWindow === event.source) frame.style.height = `${Math.ceil(height)}px`;
  }
});
