--- Calibration text: pieces of public-domain children's books (CORPUS.md lists them).
return [==[
19. The Wizard Performs Another Trick

At three o'clock the Throne Room was crowded with citizens, men, women and children being eager to witness the great trial.

Princess Ozma, dressed in her most splendid robes of state, sat in the magnificent emerald throne, with her jewelled sceptre in her hand and her sparkling coronet upon her fair brow. Behind her throne stood the twenty-eight officers of her army and many officials of the royal household. At her right sat the queerly assorted Jury--animals, animated dummies and people--all gravely prepared to listen to what was said. The kitten had been placed in a large cage just before the throne, where she sat upon her haunches and gazed through the bars at the crowds around her, with seeming unconcern.

And now, at a signal from Ozma, the Woggle-Bug arose and addressed the jury. His tone was pompous and he strutted up and down in an absurd attempt to appear dignified.

"Your Royal Highness and Fellow Citizens," he began; "the small cat you see a prisoner before you is accused of the crime of first murdering and then eating our esteemed Ruler's fat piglet--or else first eating and then murdering it. In either case a grave crime has been committed which deserves a grave punishment."

"Do you mean my kitten must be put in a grave?" asked Dorothy.

"Your Highness," cried the Woggle-Bug, appealing to Ozma, "have I a mind's eye, or haven't I?"

"If you have, it is invisible," said the Princess.

"Very true," returned the Woggle-Bug, bowing. "I say I see the criminal, in my mind's eye, creeping stealthily into the room of our Ozma and secreting herself, when no one was looking, until the Princess had gone away and the door was closed. Then the murderer was alone with her helpless victim, the fat piglet, and I see her pounce upon the innocent creature and eat it up--"

"Are you still seeing with your mind's eye?" enquired the Scarecrow.

"Of course; how else could I see it? And we know the thing is true, because since the time of that interview there is no piglet to be found anywhere."

"I suppose, if the cat had been gone, instead of the piglet, your mind's eye would see the piglet eating the cat," suggested the Scarecrow.

"Then say something sensible," retorted the kitten. "Tell them it would be foolish for me to eat the piglet, because I had sense enough to know it would raise a row if I did. But don't try to make out I'm too innocent to eat a fat piglet if I could do it and not be found out. I imagine it would taste mighty good."

"Perhaps it would, to those who eat," remarked the Tin Woodman. "I myself, not being built to eat, have no personal experience in such matters. But I remember that our great poet once said:

'To eat is sweet
When hunger's seat
Demands a treat
Of savory meat.'"

"Take this into consideration, friends of the Jury, and you will readily decide that the kitten is wrongfully accused and should be set at liberty."

When the Tin Woodman sat down no one applauded him, for his arguments had not been very convincing and few believed that he had proved Eureka's innocence. As for the Jury, the members whispered to each other for a few minutes and then they appointed the Hungry Tiger their spokesman. The huge beast slowly arose and said:

"Kittens have no consciences, so they eat whatever pleases them. The jury believes the white kitten known as Eureka is guilty of having eaten the piglet owned by Princess Ozma, and recommends that she be put to death in punishment of the crime."

"But justice prevailed at the last," said Ozma, "for here is my pet, and Eureka is once more free."

"I refuse to be free," cried the kitten, in a sharp voice, "unless the Wizard can do his trick with eight piglets. If he can produce but seven, then this is not the piglet that was lost, but another one."

"Hush, Eureka!" warned the Wizard.

"Don't be foolish," advised the Tin Woodman, "or you may be sorry for it."

"The piglet that belonged to the Princess wore an emerald collar," said Eureka, loudly enough for all to hear.

"So it did!" exclaimed Ozma. "This cannot be the one the Wizard gave me."

He looked back and saw Eiko his comrade, riding on a white horse, in the act of unsheathing a large sword to draw upon him. Hako's anger was kindled, and as he turned to face his rival he cried:

"Insolent wretch! I have been appointed by the Empress to lead the front forces to battle. Do you dare to stop me?"

"Yes," answered Eiko. "I ought to lead the army. It is you who should follow me."

At this bold reply Hako's anger burst from a spark into a flame.

"Dare you answer me thus? Take that," and he lunged at him with his lance.

But Eiko moved quickly aside, and at the same time, raising his sword, he wounded the head of the General's horse. Obliged to dismount, Hako was about to rush at his antagonist, when Eiko, as quick as lightning, tore from his breast the badge of commandership and galloped away. The action was so quick that Hako stood dazed, not knowing what to do.

As quick as lightning the wary Eiko avoided the shaft, which only touched his helmet strings, and glancing off, fell harmless against Hako's coat of armor.

The wizard saw that both his enemies remained unscathed. He also knew that there was no time to pull a second arrow before they would be upon him, so to save himself he resorted to magic. He stretched forth his wand, and immediately a great flood arose, and Jokwa's army and her brave young Generals were swept away like a falling of autumn leaves on a stream.

Hako and Eiko found themselves struggling neck deep in water, and looking round they saw the ferocious Kokai making towards them through the water with his iron rod on high. They thought every moment that they would be cut down, but they bravely struck out to swim as far as they could from Kokai's reach. All of a sudden they found themselves in front of what seemed to be an island rising straight out of the water. They looked up, and there stood an old man with hair as white as snow, smiling at them. They cried to him to help them. The old man nodded his head and came down to the edge of the water. As soon as his feet touched the flood it divided, and a good road appeared, to the amazement of the drowning men, who now found themselves safe.

Kokai had by this time reached the island which had risen as if by a miracle out of the water, and seeing his enemies thus saved he was furious. He rushed through the water upon the old man, and it seemed as if he would surely be killed. But the old man appeared not in the least dismayed, and calmly awaited the wizard's onslaught.

As Kokai drew near, the old man laughed aloud merrily, and turning into a large and beautiful white crane, flapped his wings and flew upwards into the heavens.

When Hako and Eiko saw this, they knew that their deliverer was no mere human being--was perhaps a god in disguise--and they hoped later on to find out who the venerable old man was.

Shikuyu then placed himself at the head of thirty thousand soldiers, and with Hako and Eiko showing him the way, marched to the enemy's castle. The Fire King knew the secret of Kokai's power, and he now told all the soldiers to gather a certain kind of shrub. This they burned in large quantities, and each soldier was then ordered to fill a bag full of the ashes thus obtained.

Kokai, on the other hand, in his own conceit, thought that Shikuyu was of inferior power to himself, and he murmured angrily:

"I am a very poor man," he answered. "I came from my own country to seek service here, and I am now one of the grain merchant's servants." Then she went away. For three more nights the boy sang in the King's garden, and each night the princess came and asked him the same questions as before, and the boy gave her the same answers.

Then she went to her father, and said to him, "Father, I wish to be married; but I must choose my husband myself." Her father consented to this, and he wrote and invited all the Kings and Rajas in the land, saying, "My youngest daughter wishes to be married, but she insists on choosing her husband herself. As I do not know who it is she wishes to marry, I beg you will all come on a certain day, for her to see you and make her choice."

A great many Kings, Rajas, and their sons accepted this invitation and came. When they had all arrived, the little princess's father said to them, "To-morrow morning you must all sit together in my garden" (the King's garden was very large), "for then my youngest daughter will come and see you all, and choose her husband. I do not know whom she will choose."

The youngest princess ordered a grand elephant to be ready for her the next morning, and when the morning came, and all was ready, she dressed herself in the most lovely clothes, and put on her beautiful jewels; then she mounted her elephant, which was painted blue. In her hand she took a gold necklace.

"Well," said Katar, "then twist my left ear;" and as soon as the boy had twisted it, Katar was a horse again, and not a donkey any longer. "Now," said Katar, "twist your left ear, and you will see what a beautiful young prince you will become." So the boy twisted his own left ear, and there he stood no longer a poor, common, ugly man, but a grand young prince with a moon on his forehead and a star on his chin. Then he put on his splendid clothes, saddled and bridled Katar, got on his back with his sword and gun, and rode off to hunt.

He rode very far, and shot a great many birds and a quantity of deer. That day his six brothers-in-law could find no game, for the beautiful young prince had shot it all. Nearly all the day long these six princes wandered about looking in vain for game; till at last they grew hungry and thirsty, and could find no water, and they had no food with them. Meanwhile the beautiful young prince had sat down under a tree, to dine and rest, and there his six brothers-in-law found him. By his side was some delicious water, and also some roast meat.

When they saw him the six princes said to each other, "Look at that handsome prince. He has a moon on his forehead and a star on his chin. We have never seen such a prince in this jungle before; he must come from another country." Then they came up to him, and made him many salaams, and begged him to give them some food and water. "Who are you?" said the young prince. "We are the husbands of the six elder daughters of the King of this country," they answered; "and we have hunted all day, and are very hungry and thirsty." They did not recognise their brother-in-law in the least.

"Well," said the young prince, "I will give you something to eat and drink if you will do as I bid you." "We will do all you tell us to do," they answered, "for if we do not get water to drink, we shall die." "Very good," said the young prince. "Now you must let me put a red-hot pice on the back of each of you, and then I will give you food and water. Do you agree to this?" The six princes consented, for they thought, "No one will ever see the mark of the pice, as it will be covered by our clothes; and we shall die if we have no water to drink." Then the young prince took six pice, and made them red-hot in the fire; he laid one on the back of each of the six princes, and gave them good food and water. They ate and drank; and when they had finished they made him many salaams and went home.

The young prince stayed under the tree till it was evening; then he mounted his horse and rode off to the King's palace. All the people looked at him as he came riding along, saying, "What a splendid young prince that is! He has a moon on his forehead and a star on his chin." But no one recognised him. When he came near the King's palace, all the King's servants asked him who he was; and as none of them knew him, the gate-keepers would not let him pass in. They all wondered who he could be, and all thought him the most beautiful prince that had ever been seen.

At last they asked him who he was. "I am the husband of your youngest princess," he answered.

When Prince Dolor sat up in bed, trying to remember where he was, whither he had been, and what he had seen the day before, he perceived that his room was empty.

Generally his nurse rather worried him by breaking his slumbers, coming in and "setting things to rights," as she called it. Now the dust lay thick upon chairs and tables; there was no harsh voice heard to scold him for not getting up immediately, which, I am sorry to say, this boy did not always do. For he so enjoyed lying still, and thinking lazily about everything or nothing, that, if he had not tried hard against it, he would certainly have become like those celebrated

"Two little men
Who lay in their bed till the clock struck ten."

It was striking ten now, and still no nurse was to be seen. He was rather relieved at first, for he felt so tired; and besides, when he stretched out his arm, he found to his dismay that he had gone to bed in his clothes.

Very uncomfortable he felt, of course; and just a little frightened. Especially when he began to call and call again, but nobody answered. Often he used to think how nice it would be to get rid of his nurse and live in this tower all by himself--like a sort of monarch able to do everything he liked, and leave undone all that he did not want to do; but now that this seemed really to have happened, he did not like it at all.

"Nurse,--dear nurse,--please come back!" he called out. "Come back, and I will be the best boy in all the land."

"Yes, that's it. He has come and gone, taking nurse away with him. Poor nurse! how glad she would be to go!"

That was Prince Dolor's first thought. His second--wasn't it natural?--was a passionate indignation at her cruelty--at the cruelty of all the world toward him, a poor little helpless boy. Then he determined, forsaken as he was, to try and hold on to the last, and not to die as long as he could possibly help it.

Anyhow, it would be easier to die here than out in the world, among the terrible doings which he had just beheld--from the midst of which, it suddenly struck him, the deaf-mute had come, contriving somehow to make the nurse understand that the king was dead, and she need have no fear in going back to the capital, where there was a grand revolution, and everything turned upside down. So, of course, she had gone. "I hope she'll enjoy it, miserable woman--if they don't cut off her head too."

And then a kind of remorse smote him for feeling so bitterly toward her, after all the years she had taken care of him--grudgingly, perhaps, and coldly; still she had taken care of him, and that even to the last: for, as I have said, all his four rooms were as tidy as possible, and his meals laid out, that he might have no more trouble than could be helped.

"Possibly she did not mean to be cruel. I won't judge her," said he. And afterward he was very glad that he had so determined.

For the second time he tried to dress himself, and then to do everything he could for himself--even to sweeping up the hearth and putting on more coals. "It's a funny thing for a prince to have to do," said he, laughing. "But my godmother once said princes need never mind doing anything."

"Still, I wish I had done something first--something worth doing, that somebody might remember me by," thought he. "Suppose I had grown a man, and had had work to do, and people to care for, and was so useful and busy that they liked me, and perhaps even forgot I was lame? Then it would have been nice to live, I think."

CHAPTER XXXI. The Recognition procession.

When Tom Canty awoke the next morning, the air was heavy with a thunderous murmur:  all the distances were charged with it.  It was music to him; for it meant that the English world was out in its strength to give loyal welcome to the great day.

Presently Tom found himself once more the chief figure in a wonderful floating pageant on the Thames; for by ancient custom the 'recognition procession' through London must start from the Tower, and he was bound thither.

When he arrived there, the sides of the venerable fortress seemed suddenly rent in a thousand places, and from every rent leaped a red tongue of flame and a white gush of smoke; a deafening explosion followed, which drowned the shoutings of the multitude, and made the ground tremble; the flame-jets, the smoke, and the explosions, were repeated over and over again with marvellous celerity, so that in a few moments the old Tower disappeared in the vast fog of its own smoke, all but the very top of the tall pile called the White Tower; this, with its banners, stood out above the dense bank of vapour as a mountain-peak projects above a cloud-rack.

Tom Canty, splendidly arrayed, mounted a prancing war-steed, whose rich trappings almost reached to the ground; his 'uncle,' the Lord Protector Somerset, similarly mounted, took place in his rear; the King's Guard formed in single ranks on either side, clad in burnished armour; after the Protector followed a seemingly interminable procession of resplendent nobles attended by their vassals; after these came the lord mayor and the aldermanic body, in crimson velvet robes, and with their gold chains across their breasts; and after these the officers and members of all the guilds of London, in rich raiment, and bearing the showy banners of the several corporations.  Also in the procession, as a special guard of honour through the city, was the Ancient and Honourable Artillery Company--an organisation already three hundred years old at that time, and the only military body in England possessing the privilege (which it still possesses in our day) of holding itself independent of the commands of Parliament.  It was a brilliant spectacle, and was hailed with acclamations all along the line, as it took its stately way through the packed multitudes of citizens. The chronicler says, 'The King, as he entered the city, was received by the people with prayers, welcomings, cries, and tender words, and all signs which argue an earnest love of subjects toward their sovereign; and the King, by holding up his glad countenance to such as stood afar off, and most tender language to those that stood nigh his Grace, showed himself no less thankful to receive the people's goodwill than they to offer it. To all that wished him well, he gave thanks.  To such as bade "God save his Grace," he said in return, "God save you all!" and added that "he thanked them with all his heart." Wonderfully transported were the people with the loving answers and gestures of their King.'

The procession moved on, and still on, through ever augmenting splendours and ever augmenting tempests of welcome; but to Tom Canty they were as if they had not been.  He neither saw nor heard.  Royalty had lost its grace and sweetness; its pomps were become a reproach. Remorse was eating his heart out.  He said, "Would God I were free of my captivity!"

He had unconsciously dropped back into the phraseology of the first days of his compulsory greatness.

The shining pageant still went winding like a radiant and interminable serpent down the crooked lanes of the quaint old city, and through the huzzaing hosts; but still the King rode with bowed head and vacant eyes, seeing only his mother's face and that wounded look in it.

CHAPTER 9. ATLANTIS

You will understand that the adventure of the Babylonian queen in London was the only one that had occupied any time at all. But the children's time was very fully taken up by talking over all the wonderful things seen and done in the Past, where, by the power of the Amulet, they seemed to spend hours and hours, only to find when they got back to London that the whole thing had been briefer than a lightning flash.

They talked of the Past at their meals, in their walks, in the dining-room, in the first-floor drawing-room, but most of all on the stairs. It was an old house; it had once been a fashionable one, and was a fine one still. The banister rails of the stairs were excellent for sliding down, and in the corners of the landings were big alcoves that had once held graceful statues, and now quite often held the graceful forms of Cyril, Robert, Anthea, and Jane.

'Egypt!' said Jane promptly. 'I want to see the pussy cats.'

'Not me--too hot,' said Cyril. 'It's about as much as I can stand here--let alone Egypt.' It was indeed, hot, even on the second landing, which was the coolest place in the house. 'Let's go to the North Pole.'

'I don't suppose the Amulet was ever there--and we might get our fingers frost-bitten so that we could never hold it up to get home again. No thanks,' said Robert.

'I say,' said Jane, 'let's get the Psammead and ask its advice. It will like us asking, even if we don't take it.'

The Psammead was brought up in its green silk embroidered bag, but before it could be asked anything the door of the learned gentleman's room opened and the voice of the visitor who had been lunching with him was heard on the stairs. He seemed to be speaking with the door handle in his hand.

'You see a doctor, old boy,' he said; 'all that about thought-transference is just simply twaddle. You've been over-working. Take a holiday. Go to Dieppe.'

'Were there any Amulets there?' asked Anthea, made anxious by a sudden thought.

'Hundreds, I should think. So HE'S been talking to you?'

'Yes, often. He's very kind to us. We like him awfully.'

'Well, what he wants is a holiday; you persuade him to take one. What he wants is a change of scene. You see, his head is crusted so thickly inside with knowledge about Egypt and Assyria and things that you can't hammer anything into it unless you keep hard at it all day long for days and days. And I haven't time. But you live in the house. You can hammer almost incessantly. Just try your hands, will you? Right. So long!'

He went down the stairs three at a time, and Jane remarked that he was a nice man, and she thought he had little girls of his own.

'I should like to have them to play with,' she added pensively.

'Will you come,' said Anthea, 'to Atlantis with us?'

'To know that you are dreaming shows that the dream is nearly at an end,' he told himself; 'or perhaps it's only a game, like "How many miles to Babylon?".' So he said aloud: 'Thank you very much, but I have only a quarter of an hour to spare.'

'It doesn't take any time,' said Cyril; 'time is only a mode of thought, you know, and you've got to go some time, so why not with us?'

'Very well,' said the learned gentleman, now quite certain that he was dreaming.

Anthea held out her soft, pink hand. He took it. She pulled him gently to his feet. Jane held up the Amulet.

'To just outside Atlantis,' said Cyril, and Jane said the Name of Power.

CHAPTER XIV. Anne's Confession

|ON the Monday evening before the picnic Marilla came down from her room with a troubled face.

"Anne," she said to that small personage, who was shelling peas by the spotless table and singing, "Nelly of the Hazel Dell" with a vigor and expression that did credit to Diana's teaching, "did you see anything of my amethyst brooch? I thought I stuck it in my pincushion when I came home from church yesterday evening, but I can't find it anywhere."

"I--I saw it this afternoon when you were away at the Aid Society," said Anne, a little slowly. "I was passing your door when I saw it on the cushion, so I went in to look at it."

"Did you touch it?" said Marilla sternly.

"Y-e-e-s," admitted Anne, "I took it up and I pinned it on my breast just to see how it would look."

"I believe you are telling me a falsehood, Anne," she said sharply. "I know you are. There now, don't say anything more unless you are prepared to tell the whole truth. Go to your room and stay there until you are ready to confess."

"Will I take the peas with me?" said Anne meekly.

"No, I'll finish shelling them myself. Do as I bid you."

When Anne had gone Marilla went about her evening tasks in a very disturbed state of mind. She was worried about her valuable brooch. What if Anne had lost it? And how wicked of the child to deny having taken it, when anybody could see she must have! With such an innocent face, too!

"I don't know what I wouldn't sooner have had happen," thought Marilla, as she nervously shelled the peas. "Of course, I don't suppose she meant to steal it or anything like that. She's just taken it to play with or help along that imagination of hers. She must have taken it, that's clear, for there hasn't been a soul in that room since she was in it, by her own story, until I went up tonight. And the brooch is gone, there's nothing surer. I suppose she has lost it and is afraid to own up for fear she'll be punished. It's a dreadful thing to think she tells falsehoods. It's a far worse thing than her fit of temper. It's a fearful responsibility to have a child in your house you can't trust. Slyness and untruthfulness--that's what she has displayed. I declare I feel worse about that than about the brooch. If she'd only have told the truth about it I wouldn't mind so much."

Marilla went to her room at intervals all through the evening and searched for the brooch, without finding it. A bedtime visit to the east gable produced no result. Anne persisted in denying that she knew anything about the brooch but Marilla was only the more firmly convinced that she did.

"You'll not go to picnics nor anywhere else until you've confessed, Anne."

"Oh, Marilla," gasped Anne.

But Marilla had gone out and shut the door.

Wednesday morning dawned as bright and fair as if expressly made to order for the picnic. Birds sang around Green Gables; the Madonna lilies in the garden sent out whiffs of perfume that entered in on viewless winds at every door and window, and wandered through halls and rooms like spirits of benediction. The birches in the hollow waved joyful hands as if watching for Anne's usual morning greeting from the east gable. But Anne was not at her window. When Marilla took her breakfast up to her she found the child sitting primly on her bed, pale and resolute, with tight-shut lips and gleaming eyes.

"Marilla, I'm ready to confess."

"Ah!" Marilla laid down her tray. Once again her method had succeeded; but her success was very bitter to her. "Let me hear what you have to say then, Anne."

He was concealed by this time behind another tree trunk; but he must have been watching me closely, for as soon as I began to move in his direction he reappeared and took a step to meet me. Then he hesitated, drew back, came forward again, and at last, to my wonder and confusion, threw himself on his knees and held out his clasped hands in supplication.

At that I once more stopped.

"Who are you?" I asked.

"Ben Gunn," he answered, and his voice sounded hoarse and awkward, like a rusty lock. "I'm poor Ben Gunn, I am; and I haven't spoke with a Christian these three years."

I could now see that he was a white man like myself and that his features were even pleasing. His skin, wherever it was exposed, was burnt by the sun; even his lips were black, and his fair eyes looked quite startling in so dark a face. Of all the beggar-men that I had seen or fancied, he was the chief for raggedness. He was clothed with tatters of old ship's canvas and old sea-cloth, and this extraordinary patchwork was all held together by a system of the most various and incongruous fastenings, brass buttons, bits of stick, and loops of tarry gaskin. About his waist he wore an old brass-buckled leather belt, which was the one thing solid in his whole accoutrement.

"Three years!" I cried. "Were you shipwrecked?"

"Jim, Jim," says he, quite pleased apparently. "Well, now, Jim, I've lived that rough as you'd be ashamed to hear of. Now, for instance, you wouldn't think I had had a pious mother--to look at me?" he asked.

"Why, no, not in particular," I answered.

"Ah, well," said he, "but I had--remarkable pious. And I was a civil, pious boy, and could rattle off my catechism that fast, as you couldn't tell one word from another. And here's what it come to, Jim, and it begun with chuck-farthen on the blessed grave-stones! That's what it begun with, but it went further'n that; and so my mother told me, and predicked the whole, she did, the pious woman! But it were Providence that put me here. I've thought it all out in this here lonely island, and I'm back on piety. You don't catch me tasting rum so much, but just a thimbleful for luck, of course, the first chance I have. I'm bound I'll be good, and I see the way to. And, Jim"--looking all round him and lowering his voice to a whisper--"I'm rich."

I now felt sure that the poor fellow had gone crazy in his solitude, and I suppose I must have shown the feeling in my face, for he repeated the statement hotly: "Rich! Rich! I says. And I'll tell you what: I'll make a man of you, Jim. Ah, Jim, you'll bless your stars, you will, you was the first that found me!"

And at this there came suddenly a lowering shadow over his face, and he tightened his grasp upon my hand and raised a forefinger threateningly before my eyes.

"Now, Jim, you tell me true: that ain't Flint's ship?" he asked.

"You're a good lad, Jim," he said; "and you're all in a clove hitch, ain't you? Well, you just put your trust in Ben Gunn--Ben Gunn's the man to do it. Would you think it likely, now, that your squire would prove a liberal-minded one in case of help--him being in a clove hitch, as you remark?"

I told him the squire was the most liberal of men.

"Aye, but you see," returned Ben Gunn, "I didn't mean giving me a gate to keep, and a suit of livery clothes, and such; that's not my mark, Jim. What I mean is, would he be likely to come down to the toon of, say one thousand pounds out of money that's as good as a man's own already?"

"I am sure he would," said I. "As it was, all hands were to share."

"AND a passage home?" he added with a look of great shrewdness.

"Why," I cried, "the squire's a gentleman. And besides, if we got rid of the others, we should want you to help work the vessel home."

They used to go out hunting, and they often went from country to country to eat the air and amuse themselves.

One day Prince Majnun said to Laili, "Let us go through this jungle." "No, no," said Laili; "if we go through this jungle, some harm will happen to me." But Prince Majnun laughed, and went into the jungle. And as they were going through it, Khuda thought, "I should like to know how much Prince Majnun loves his wife. Would he be very sorry if she died? And would he marry another wife? I will see." So he sent one of his angels in the form of a fakir into the jungle; and the angel went up to Laili, and threw some powder in her face, and instantly she fell to the ground a heap of ashes.

Prince Majnun was in great sorrow and grief when he saw his dear Laili turned into a little heap of ashes; and he went straight home to his father, and for a long, long time he would not be comforted. After a great many years he grew more cheerful and happy, and began to go again into his father's beautiful garden with Husain Mahamat. King Dantal wished his son to marry again. "I will only have Laili for my wife; I will not marry any other woman," said Prince Majnun.

"How can you marry Laili? Laili is dead. She will never come back to you," said the father.

"Then I'll not have any wife at all," said Prince Majnun.

Meanwhile Laili was living in the jungle where her husband had left her a little heap of ashes. As soon as Majnun had gone, the fakir had taken her ashes and made them quite clean, and then he had mixed clay and water with the ashes, and made the figure of a woman with them, and so Laili regained her human form, and Khuda sent life into it. But Laili had become once more a hideous old woman, with a long, long nose, and teeth like tusks; just such an old woman, excepting her teeth, as she had been when she came out of the Rohu fish; and she lived in the jungle, and neither ate nor drank, and she kept on saying, "Majnun, Majnun; I want Majnun."

Mr. Dance told me to jump down and knock, and Dogger gave me a stirrup to descend by. The door was opened almost at once by the maid.

"Is Dr. Livesey in?" I asked.

No, she said, he had come home in the afternoon but had gone up to the hall to dine and pass the evening with the squire.

"So there we go, boys," said Mr. Dance.

This time, as the distance was short, I did not mount, but ran with Dogger's stirrup-leather to the lodge gates and up the long, leafless, moonlit avenue to where the white line of the hall buildings looked on either hand on great old gardens. Here Mr. Dance dismounted, and taking me along with him, was admitted at a word into the house.

The servant led us down a matted passage and showed us at the end into a great library, all lined with bookcases and busts upon the top of them, where the squire and Dr. Livesey sat, pipe in hand, on either side of a bright fire.

"Squire," said he, "when Dance has had his ale he must, of course, be off on his Majesty's service; but I mean to keep Jim Hawkins here to sleep at my house, and with your permission, I propose we should have up the cold pie and let him sup."

"As you will, Livesey," said the squire; "Hawkins has earned better than cold pie."

So a big pigeon pie was brought in and put on a sidetable, and I made a hearty supper, for I was as hungry as a hawk, while Mr. Dance was further complimented and at last dismissed.

"And now, squire," said the doctor.

"And now, Livesey," said the squire in the same breath.

"One at a time, one at a time," laughed Dr. Livesey. "You have heard of this Flint, I suppose?"

"Not much instruction there," said Dr. Livesey as he passed on.

The next ten or twelve pages were filled with a curious series of entries. There was a date at one end of the line and at the other a sum of money, as in common account-books, but instead of explanatory writing, only a varying number of crosses between the two. On the 12th of June, 1745, for instance, a sum of seventy pounds had plainly become due to someone, and there was nothing but six crosses to explain the cause. In a few cases, to be sure, the name of a place would be added, as "Offe Caraccas," or a mere entry of latitude and longitude, as "62o 17' 20", 19o 2' 40"."

The record lasted over nearly twenty years, the amount of the separate entries growing larger as time went on, and at the end a grand total had been made out after five or six wrong additions, and these words appended, "Bones, his pile."

"I can't make head or tail of this," said Dr. Livesey.

"The thing is as clear as noonday," cried the squire. "This is the black-hearted hound's account-book. These crosses stand for the names of ships or towns that they sank or plundered. The sums are the scoundrel's share, and where he feared an ambiguity, you see he added something clearer. 'Offe Caraccas,' now; you see, here was some unhappy vessel boarded off that coast. God help the poor souls that manned her--coral long ago."

"Right!" said the doctor. "See what it is to be a traveller. Right! And the amounts increase, you see, as he rose in rank."

The arms are easy found, in the sand-hill, N.
point of north inlet cape, bearing E. and a
quarter N.
J.F.

That was all; but brief as it was, and to me incomprehensible, it filled the squire and Dr. Livesey with delight.

CHAPTER V. SCRAPES

AFTER being unusually good, children are apt to turn short round and refresh themselves by acting like Sancho. For a week after Tom's mishap, the young folks were quite angelic, so much so that grandma said she was afraid "something was going to happen to them." The dear old lady need n't have felt anxious, for such excessive virtue does n't last long enough to lead to translation, except with little prigs in the goody story-books; and no sooner was Tom on his legs again, when the whole party went astray, and much tribulation was the consequence.

It all began with "Polly's stupidity," as Fan said afterward. Just as Polly ran down to meet Mr. Shaw one evening, and was helping him off with his coat, the bell rang, and a fine bouquet of hothouse flowers was left in Polly's hands, for she never could learn city ways, and opened the door herself.

"Hey! what's this? My little Polly is beginning early, after all," said Mr. Shaw, laughing, as he watched the girl's face dimple and flush, as she smelt the lovely nosegay, and glanced at a note half hidden in the heliotrope.
]==]
