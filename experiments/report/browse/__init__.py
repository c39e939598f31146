"""One static page to browse: the verdicts, every run and the paper's rows, as a table and as a plot.

rows: what the page knows of each. render: the page. The scripts view, charts, plot, panel and start make one script.
"""
