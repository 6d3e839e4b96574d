(() => {
  const book = document.getElementById("MARK");
  const slider = book.querySelector("input"), button = book.querySelector("button");
  let timer = 0;
  const turn = () => {
    book.querySelectorAll("figure").forEach((figure, page) => { figure.hidden = page !== Number(slider.value); });
  };
  slider.addEventListener("input", turn);
  button.addEventListener("click", () => {
    if (timer) {
      clearInterval(timer);
      timer = 0;
    } else {
      timer = setInterval(() => {
        slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
        turn();
      }, 1200);
    }
    button.textContent = timer ? "pause" : "play";
  });
})();
