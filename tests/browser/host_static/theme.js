document.documentElement.dataset.theme = "dark"; // As a switch that keeps its choice in the browser does
