// Everything starts here; the page's data are the two JSON blocks above the script.

startTheme();
const reportData = parsed("data");
startCurves(reportData);
startPoints(reportData);
startViewer(parsed("gallery"));
document.documentElement.dataset.ready = "yes";
