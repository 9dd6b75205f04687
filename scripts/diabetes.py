"""Writes examples/diabetes.csv: scikit-learn's diabetes targets (disease progression one year after baseline,
442 patients) and the predictions of an ordinary least-squares model of all ten features.

    python scripts/diabetes.py
"""

import csv
from pathlib import Path

from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

OUTPUT = Path(__file__).resolve().parent.parent / "examples" / "diabetes.csv"


def main():
    features, targets = load_diabetes(return_X_y=True)
    predictions = LinearRegression().fit(features, targets).predict(features)
    with OUTPUT.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["y", "yhat"])
        for y, yhat in zip(targets, predictions):
            writer.writerow([f"{y:g}", f"{yhat:.6f}"])


if __name__ == "__main__":
    main()
