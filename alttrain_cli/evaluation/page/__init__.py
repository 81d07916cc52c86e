"""The scorecard as one HTML file: no network, no script of a model, opens from anywhere."""

from alttrain_cli.evaluation.page.page import page, write_page

__all__ = ["page", "write_page"]
