(() => {
  const map = document.getElementById("MARK"), sound = map.querySelector("audio");
  const parts = map.querySelectorAll("button");
  parts.forEach((part) => part.addEventListener("click", () => {
    parts.forEach((other) => other.classList.toggle("playing", other === part));
    sound.src = part.dataset.sound;
    sound.play();
  }));
})();
