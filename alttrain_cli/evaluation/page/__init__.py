"""The scorecard as one HTML file: no network, no script of a model, opens from anywhere."""
