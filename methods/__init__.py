"""Methods by name. A new one is one file here, or an entry point in group handbench.methods."""

TABLE = {
    "mean_pose": "handbench.methods.mean_pose:MeanPose",
    "plain": "handbench.methods.plain:Plain",
    "h2onet": "handbench.methods.h2onet:H2ONet",
    "handoccnet": "handbench.methods.handoccnet:HandOccNet",
    "handgcat": "handbench.methods.handgcat:HandGCAT",
    "occrobnet": "handbench.methods.occrobnet:OccRobNet",
    "kypt_small": "handbench.methods.kypt_small:KyptSmall",
    "cnn_sa": "handbench.methods.cnn_sa:CnnSa",
}
