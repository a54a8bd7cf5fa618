BEGIN TRANSACTION;
CREATE TABLE claims (
	project_id INTEGER NOT NULL, 
	client TEXT NOT NULL, 
	image_id INTEGER NOT NULL, 
	person TEXT NOT NULL, 
	seen FLOAT NOT NULL, 
	PRIMARY KEY (project_id, client), 
	FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE TABLE events (
	project_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	time FLOAT NOT NULL, 
	person TEXT NOT NULL, 
	image_id INTEGER, 
	stream TEXT, 
	sequence INTEGER, 
	kind TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (project_id, number), 
	UNIQUE (project_id, stream, sequence), 
	FOREIGN KEY(project_id) REFERENCES projects (id)
);
INSERT INTO "events" VALUES(1,1,1.79582487861672782892e+09,'',NULL,NULL,NULL,'images added','{"images":[[1,"1.png"],[2,"2.png"],[3,"3.png"]]}');
INSERT INTO "events" VALUES(1,2,1.79582487875077271462e+09,'',NULL,NULL,NULL,'labels set','{"labels":[{"id":1,"name":"cell","colour":"#e6413c"}],"revision":1}');
INSERT INTO "events" VALUES(1,3,1795824879.325,'Bob',2,'tab-two:2:1795824879324287616',0,'opened','{"version":1,"sequence":0,"time":1795824879.325,"kind":"opened","image":{"height":40,"width":56,"name":"2.png","path":"/tmp/tmpbf_x8s95/images/2.png","content_hash":"dafd0525745250611ce45cfcdf34aded677c3d6d3a523bc68a3bb9fabab01242"},"model":"fake","weights_hash":"9791eff7504ec8c81a64d330369ac78a915e41b186dcff4d69373543f63459b2","preprocessing":"fake-32-None","adapters":[],"options":{"multimask":true,"feedback":"logits","undo_limit":100},"samadapt_version":"0.1.0","crc":"767ab457"}');
INSERT INTO "events" VALUES(1,4,1795824879.35,'Bob',2,'tab-two:2:1795824879324287616',1,'clicked','{"version":1,"sequence":1,"time":1795824879.35,"kind":"clicked","x":14.0,"y":12.0,"positive":true,"crc":"d0a0add4"}');
INSERT INTO "events" VALUES(1,5,1795824879.388,'Bob',2,'tab-two:2:1795824879324287616',2,'accepted','{"version":1,"sequence":2,"time":1795824879.388,"kind":"accepted","object_id":1,"label":null,"height":40,"width":56,"counts":"c;4R14N1O0O2O0001O001N3Lf\\1","crc":"c56943e1"}');
INSERT INTO "events" VALUES(1,6,1.79582487939565348623e+09,'Bob',2,NULL,NULL,'object added','{"object":1,"key":"key-of-bob","image":2,"label":null,"height":40,"width":56,"counts":"c;4R14N1O0O2O0001O001N3Lf\\1","source":"clicks","content_hash":"dafd0525745250611ce45cfcdf34aded677c3d6d3a523bc68a3bb9fabab01242","prompts":1,"adapted":false}');
INSERT INTO "events" VALUES(1,7,1795824879.501,'Ann',1,'tab-one:1:1795824879500495683',0,'opened','{"version":1,"sequence":0,"time":1795824879.501,"kind":"opened","image":{"height":40,"width":56,"name":"1.png","path":"/tmp/tmpbf_x8s95/images/1.png","content_hash":"809bceb61ed58055a2b55669160d523fae5572dc5d7fae0d0d47c7968bf3e998"},"model":"fake","weights_hash":"9791eff7504ec8c81a64d330369ac78a915e41b186dcff4d69373543f63459b2","preprocessing":"fake-32-None","adapters":[],"options":{"multimask":true,"feedback":"logits","undo_limit":100},"samadapt_version":"0.1.0","crc":"ae44f515"}');
INSERT INTO "events" VALUES(1,8,1795824879.506,'Ann',1,'tab-one:1:1795824879500495683',1,'clicked','{"version":1,"sequence":1,"time":1795824879.506,"kind":"clicked","x":14.0,"y":12.0,"positive":true,"crc":"6b133058"}');
INSERT INTO "events" VALUES(1,9,1795824879.522,'Ann',1,'tab-one:1:1795824879500495683',2,'accepted','{"version":1,"sequence":2,"time":1795824879.522,"kind":"accepted","object_id":1,"label":"1","height":40,"width":56,"counts":"b;7P12O1O0O100001O001N3Kg\\1","crc":"89e1d068"}');
INSERT INTO "events" VALUES(1,10,1.79582487953227090834e+09,'Ann',1,NULL,NULL,'object added','{"object":2,"key":"key-of-first","image":1,"label":1,"height":40,"width":56,"counts":"b;7P12O1O0O100001O001N3Kg\\1","source":"clicks","content_hash":"809bceb61ed58055a2b55669160d523fae5572dc5d7fae0d0d47c7968bf3e998","prompts":1,"adapted":false}');
INSERT INTO "events" VALUES(1,11,1795824879.601,'Ann',1,'tab-one:1:1795824879500495683',3,'clicked','{"version":1,"sequence":3,"time":1795824879.601,"kind":"clicked","x":37.0,"y":29.0,"positive":true,"crc":"1904cf72"}');
INSERT INTO "events" VALUES(1,12,1795824879.67,'Ann',1,'tab-one:1:1795824879500495683',4,'clicked','{"version":1,"sequence":4,"time":1795824879.67,"kind":"clicked","x":5.0,"y":5.0,"positive":false,"crc":"fe25a4f1"}');
INSERT INTO "events" VALUES(1,13,1795824879.774,'Ann',1,'tab-one:1:1795824879500495683',5,'accepted','{"version":1,"sequence":5,"time":1795824879.774,"kind":"accepted","object_id":2,"label":null,"height":40,"width":56,"counts":"\\V14R13N2N1O10000000000001N2N4LU>","crc":"9127df8e"}');
INSERT INTO "events" VALUES(1,14,1.79582487977715325351e+09,'Ann',1,NULL,NULL,'object added','{"object":3,"key":"key-of-second","image":1,"label":null,"height":40,"width":56,"counts":"\\V14R13N2N1O10000000000001N2N4LU>","source":"clicks","content_hash":"809bceb61ed58055a2b55669160d523fae5572dc5d7fae0d0d47c7968bf3e998","prompts":2,"adapted":false}');
INSERT INTO "events" VALUES(1,15,1795824879.844,'Ann',1,'tab-one:1:1795824879500495683',6,'clicked','{"version":1,"sequence":6,"time":1795824879.844,"kind":"clicked","x":43.0,"y":7.0,"positive":true,"crc":"9ddaabce"}');
INSERT INTO "events" VALUES(1,16,1795824879.909,'Ann',1,'tab-one:1:1795824879500495683',7,'clicked','{"version":1,"sequence":7,"time":1795824879.909,"kind":"clicked","x":5.0,"y":35.0,"positive":false,"crc":"5e222386"}');
INSERT INTO "events" VALUES(1,17,1795824879.967,'Ann',1,'tab-one:1:1795824879500495683',8,'undone','{"version":1,"sequence":8,"time":1795824879.967,"kind":"undone","crc":"c85b9928"}');
INSERT INTO "events" VALUES(1,18,1.79582488007176017757e+09,'Bob',2,NULL,NULL,'edit began','{"object":1,"revision":1,"stream":"tab-two:2:1795824879324287616"}');
INSERT INTO "events" VALUES(1,19,1795824880.108,'Bob',2,'tab-two:2:1795824879324287616',3,'clicked','{"version":1,"sequence":3,"time":1795824880.108,"kind":"clicked","x":37.0,"y":29.0,"positive":true,"crc":"0082f76e"}');
INSERT INTO "events" VALUES(1,20,1.79582488021280860896e+09,'Ann',3,NULL,NULL,'object added','{"object":4,"key":"key-painted","image":3,"label":null,"height":40,"width":56,"counts":"S56R100000000000000000000000000000m\\1","source":"brush","content_hash":null,"prompts":null,"adapted":false}');
INSERT INTO "events" VALUES(1,21,1.79582488023344564436e+09,'Ann',3,NULL,NULL,'object changed','{"object":4,"revision":2,"label":1,"counts":"S56R100000000000000000000000000000m\\1"}');
INSERT INTO "events" VALUES(1,22,1.79582488032374763481e+09,'Ann',3,NULL,NULL,'object deleted','{"object":4,"revision":3}');
CREATE TABLE images (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	project_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	present BOOLEAN NOT NULL, 
	mark TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	problem TEXT, 
	height INTEGER, 
	width INTEGER, 
	content_hash TEXT, 
	file_size INTEGER, 
	modified TEXT, 
	annotated_hash TEXT, 
	UNIQUE (project_id, name), 
	FOREIGN KEY(project_id) REFERENCES projects (id)
);
INSERT INTO "images" VALUES(1,1,'1.png',1,'',0,NULL,40,56,'809bceb61ed58055a2b55669160d523fae5572dc5d7fae0d0d47c7968bf3e998',253,'1795824878481642102','809bceb61ed58055a2b55669160d523fae5572dc5d7fae0d0d47c7968bf3e998');
INSERT INTO "images" VALUES(2,1,'2.png',1,'',0,NULL,40,56,'dafd0525745250611ce45cfcdf34aded677c3d6d3a523bc68a3bb9fabab01242',254,'1795824878482212644','dafd0525745250611ce45cfcdf34aded677c3d6d3a523bc68a3bb9fabab01242');
INSERT INTO "images" VALUES(3,1,'3.png',1,'',0,NULL,40,56,NULL,253,'1795824878482654135',NULL);
CREATE TABLE object_labels (
	project_id INTEGER NOT NULL, 
	id INTEGER NOT NULL, 
	place INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	colour TEXT NOT NULL, 
	PRIMARY KEY (project_id, id), 
	UNIQUE (project_id, name), 
	FOREIGN KEY(project_id) REFERENCES projects (id)
);
INSERT INTO "object_labels" VALUES(1,1,0,'cell','#e6413c');
CREATE TABLE objects (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	project_id INTEGER NOT NULL, 
	image_id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	deleted BOOLEAN NOT NULL, 
	label_id INTEGER, 
	height INTEGER NOT NULL, 
	width INTEGER NOT NULL, 
	counts TEXT NOT NULL, 
	source TEXT NOT NULL, 
	person TEXT NOT NULL, 
	time FLOAT NOT NULL, 
	prompts INTEGER, 
	frozen_prompts INTEGER, 
	adapted BOOLEAN NOT NULL, 
	live_label INTEGER GENERATED ALWAYS AS (CASE WHEN deleted THEN NULL ELSE label_id END) STORED, 
	UNIQUE (project_id, "key"), 
	CONSTRAINT live_objects_have_live_labels FOREIGN KEY(project_id, live_label) REFERENCES object_labels (project_id, id) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(project_id) REFERENCES projects (id), 
	FOREIGN KEY(image_id) REFERENCES images (id)
);
INSERT INTO "objects" VALUES(1,1,2,'key-of-bob',1,0,NULL,40,56,'c;4R14N1O0O2O0001O001N3Lf\1','clicks','Bob',1.79582487939565348623e+09,1,NULL,0);
INSERT INTO "objects" VALUES(2,1,1,'key-of-first',1,0,1,40,56,'b;7P12O1O0O100001O001N3Kg\1','clicks','Ann',1.79582487953227090834e+09,1,NULL,0);
INSERT INTO "objects" VALUES(3,1,1,'key-of-second',1,0,NULL,40,56,'\V14R13N2N1O10000000000001N2N4LU>','clicks','Ann',1.79582487977715325351e+09,2,NULL,0);
INSERT INTO "objects" VALUES(4,1,3,'key-painted',3,1,1,40,56,'S56R100000000000000000000000000000m\1','brush','Ann',1.79582488021280860896e+09,NULL,NULL,0);
CREATE TABLE projects (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	events INTEGER NOT NULL, 
	labels_revision INTEGER NOT NULL, 
	UNIQUE (name)
);
INSERT INTO "projects" VALUES(1,'project',22,1);
CREATE TABLE samadapt_database (
	identity TEXT NOT NULL, 
	PRIMARY KEY (identity)
);
INSERT INTO "samadapt_database" VALUES('ec60acca967643019a2e1cec2215cf0d');
CREATE TABLE samadapt_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "samadapt_schema" VALUES(1);
INSERT INTO "samadapt_schema" VALUES(2);
CREATE INDEX images_content ON images (project_id, content_hash);
CREATE INDEX events_of_image ON events (project_id, image_id, number);
CREATE INDEX objects_of_image ON objects (image_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('projects',1);
INSERT INTO "sqlite_sequence" VALUES('images',3);
INSERT INTO "sqlite_sequence" VALUES('objects',4);
COMMIT;
