"""How the small models are pre-trained that stand in for the paper's: scripts/pretrain_mini.py is the command."""
