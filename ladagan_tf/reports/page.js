"use strict";
// The slider: each figure shows its newest picture up to there, and the curves a line at it.
(() => {
  const { stops, end, moving } = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("kimg");
  if (!slider) return;
  const output = document.querySelector("output");
  const plain = (kimg) => (kimg < 1e4 ? Number(kimg.toPrecision(4)) : Math.round(kimg));
  const words = (kimg) => `${plain(kimg)} kimg`;
  const figures = Object.entries(moving).map(([id, shown]) => {
    const image = document.getElementById(id);
    shown[shown.length - 1][1] = image.src;
    return { image, shown, after: image.closest("figure").querySelector(".at") };
  });
  const show = () => {
    const at = stops[slider.value];
    output.textContent = slider.ariaValueText = words(at);
    document.documentElement.style.setProperty("--at", Math.min(1, at / end));
    for (const { image, shown, after } of figures) {
      const [kimg, uri] = shown.findLast(([kimg]) => kimg <= at) ?? shown[0];
      if (image.src !== uri) image.src = uri;
      after.textContent = `after ${words(kimg)}`;
      image.alt = `${image.dataset.alt}, after ${words(kimg)}`;
    }
  };
  slider.addEventListener("input", show);
  slider.parentElement.hidden = false;
  slider.value = stops.length - 1; // where a reload does not keep it
  show();
})();
