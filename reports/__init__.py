"""One folder per figure: what runs, how it is drawn, the committed data and images."""
