"""A history as one file of HTML that needs no network: what happened, what was kept, and why what is wrong is wrong.

digest.py    a history of any length -> numbers and marks for at most some thousand points
window.py    a violation -> the smallest part of the history that shows it, and which request comes before which
page.py      both -> HTML; page.html, page.css and page.js are its parts
"""

from chaos.report.page import render

__all__ = ["render"]
