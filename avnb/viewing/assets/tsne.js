(() => {
const root = document.getElementById("MARK"), d = DATA, sheet = "SHEET";
const clip = root.querySelector(".clip"), said = root.querySelector(".said"), all = root.querySelector(".all");
const NS = "http://www.w3.org/2000/svg", spots = [];
let kept = -1;
clip.style.backgroundImage = `url(${sheet})`;
clip.style.backgroundSize = `${132 * d.columns}px auto`;
function choose(k) {
  clip.style.backgroundPosition = `-${132 * (k % d.columns)}px -${132 * Math.floor(k / d.columns)}px`;
  said.textContent = `${d.classes[d.labels[k]]}: ${d.ids[k]}`;
  for (const row of spots) row.forEach((spot, i) => {
    spot.setAttribute("r", i === k ? 32 : 14);
    spot.setAttribute("stroke", i === k ? "#000" : "none");
  });
}
d.points.forEach((points, p) => {
  const box = document.createElement("div"), svg = document.createElementNS(NS, "svg");
  box.textContent = d.names[p];
  svg.setAttribute("viewBox", "-40 -40 1080 1080");
  svg.setAttribute("style", "display:block;width:230px;height:230px;border:1px solid #ccc;background:#fff");
  spots.push(points.map(([x, y], k) => {
    const spot = document.createElementNS(NS, "circle");
    spot.setAttribute("cx", x); spot.setAttribute("cy", 999 - y); spot.setAttribute("r", 14);
    spot.setAttribute("fill", d.colours[d.labels[k]]); spot.setAttribute("stroke-width", 6);
    spot.addEventListener("mouseenter", () => { if (kept < 0) choose(k); });
    spot.addEventListener("click", event => { kept = k; choose(k); event.stopPropagation(); });
    svg.appendChild(spot);
    return spot;
  }));
  svg.addEventListener("click", () => { kept = -1; });
  box.appendChild(svg); all.appendChild(box);
});
})();
